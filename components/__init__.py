"""One Kubeflow component a file. Each calls the step of the same name in `cyclegan` and adds nothing.

KFP ships only the source of the decorated function, so everything it needs is imported in its body, from the
package in the image.
"""

import os

from cyclegan import __version__

IMAGE = os.environ.get("CYCLEGAN_IMAGE", f"cyclegan-pipeline:{__version__}")
"""The image that every component runs in; CYCLEGAN_IMAGE, read when a pipeline is compiled, names another."""
