// A generator that `cyclegan export --images uint8` wrote, run in the page by onnxruntime-web.
import * as ort from "./node_modules/onnxruntime-web/dist/ort.wasm.bundle.min.mjs";

const byId = (id) => document.getElementById(id);
const model = new URLSearchParams(location.search).get("model") ?? "AtoB-uint8.onnx";
let session = null;
let pending = null; // a picture that was chosen before the model was there

function say(text) {
  byId("status").textContent = text;
}

async function open(source, name) {
  session = null;
  say(`Loading ${name} …`);
  const opened = await ort.InferenceSession.create(source, { executionProviders: ["wasm"] });
  const input = opened.inputMetadata[0];
  if (input.type !== "uint8" || input.shape.length !== 3) {
    throw new Error("it takes no uint8 picture; export it with --images uint8");
  }
  session = opened;
  say(`${name} is ready: choose a picture.`);
  if (pending) await translate(pending);
}

async function translate(file) {
  pending = file;
  if (!session) return;
  pending = null;
  say(`Translating ${file.name} …`);
  const bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
  const { width, height } = bitmap;
  const context = resized("input", width, height);
  context.fillStyle = "white"; // transparent parts become white, as in `cyclegan translate`
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0);
  await new Promise((shown) => setTimeout(shown)); // the network blocks the page while it runs

  const rgba = context.getImageData(0, 0, width, height).data;
  const rgb = new Uint8Array(width * height * 3);
  for (let i = 0, j = 0; i < rgba.length; i += 4) {
    for (let c = 0; c < 3; c++) rgb[j++] = rgba[i + c];
  }
  const begun = performance.now();
  const { translated } = await session.run({ images: new ort.Tensor("uint8", rgb, [height, width, 3]) });
  const seconds = (performance.now() - begun) / 1000;

  const out = new ImageData(width, height);
  for (let i = 0, j = 0; i < out.data.length; i += 4) {
    for (let c = 0; c < 3; c++) out.data[i + c] = translated.data[j++];
    out.data[i + 3] = 255;
  }
  resized("output", width, height).putImageData(out, 0, 0);
  byId("download").href = byId("output").toDataURL("image/png");
  byId("download").hidden = false;
  say(`${file.name}, ${width}×${height}, took ${seconds.toFixed(1)} s.`);
}

function resized(id, width, height) {
  const canvas = byId(id);
  canvas.width = width;
  canvas.height = height;
  return canvas.getContext("2d", { willReadFrequently: true });
}

async function attempt(what, action) {
  try {
    await action();
  } catch (error) {
    say(`Cannot ${what}: ${error.message ?? error}.`);
  }
}

byId("picture").addEventListener("change", (event) => {
  const [file] = event.target.files;
  if (file) attempt(`translate ${file.name}`, () => translate(file));
});
byId("model").addEventListener("change", (event) => {
  const [file] = event.target.files;
  if (file) attempt(`open ${file.name}`, async () => open(new Uint8Array(await file.arrayBuffer()), file.name));
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("over");
});
document.addEventListener("dragleave", () => document.body.classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("over");
  const [file] = event.dataTransfer.files;
  if (file) attempt(`translate ${file.name}`, () => translate(file));
});

attempt(`open ${model}`, () => open(model, model));
