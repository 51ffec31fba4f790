"""The machine that a step runs on: device, CPU limits, processes, stop signals."""
