"""Write the descriptor set of one version of the backend: `python make.py 2.17.0 DIR`."""

import ast
import re
import sys
from pathlib import Path

from google.protobuf import descriptor_pb2

FILES = ("pipeline_spec/pipeline_spec_pb2.py", "kubernetes/kubernetes_executor_config_pb2.py")


def main(version: str, folder: Path) -> None:
    """Read the two generated modules in the unpacked wheels under `folder`."""
    found = descriptor_pb2.FileDescriptorSet()
    for name in FILES:
        text = (folder / "kfp" / name).read_text(encoding="utf-8")
        serialized = re.search(r"AddSerializedFile\((b'.*?')\)\n", text, re.DOTALL)
        assert serialized, name
        found.file.append(
            descriptor_pb2.FileDescriptorProto.FromString(ast.literal_eval(serialized.group(1)))
        )
    minor = ".".join(version.split(".")[:2])
    Path(__file__).with_name(f"{minor}.binpb").write_bytes(found.SerializeToString())


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
