"""Clavicle fractures of VinDr-CXR: too few to train on, published counts say.

    python -m data.public.vindr_cxr --download physionet.org/files/vindr-cxr/1.0.0
    python launch.py --config configs/vindr_clavicle.py

By the paper's table [recall] one training and two test images have one: with --agree 2
the run stops and says which set is empty. --agree 1 takes every reader's word and finds
more. The films are a test of a model trained elsewhere rather than training data.
Data and licence: as configs/vindr_rib.py. **No number has been produced on it here.**
"""

from configs import vindr_rib


def get_config(scale: str = "laptop"):
    config = vindr_rib.get_config(scale)
    config.finding = "clavicle"
    config.data.region_images = 1
    return config
