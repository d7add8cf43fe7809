"""From image bytes to a model's input: the only implementation of preprocessing in the project.

``decode`` turns bytes into an RGB image, ``crop`` resizes and cuts it to the network's input size, and
``normalise`` makes the float tensor; ``prepare`` does the last two as a model's spec says. The pixels and the
floats are those of torchvision's own transforms on Pillow images, bit for bit.
"""

from edgecnn.preprocess.decode import MAX_PIXELS, decode
from edgecnn.preprocess.geometry import resized_size
from edgecnn.preprocess.normalise import normalise
from edgecnn.preprocess.transform import crop, prepare

__all__ = ["MAX_PIXELS", "crop", "decode", "normalise", "prepare", "resized_size"]
