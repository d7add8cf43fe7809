"""What each layer of a network costs and sees: sizes, parameters, MACs, memory, receptive field."""

from __future__ import annotations

from edgecnn.profile.layer import MAIN_KINDS, Kind, Layer, Profile
from edgecnn.profile.network import profile_network
from edgecnn.profile.receptive import ReceptiveField
from edgecnn.profile.window import Window

__all__ = ["MAIN_KINDS", "Kind", "Layer", "Profile", "ReceptiveField", "Window", "profile_network"]
