"""Rib fractures of VinDr-CXR, the nearest public match: boxes by radiologists.

    python -m data.public.vindr_cxr --download physionet.org/files/vindr-cxr/1.0.0
    python launch.py --config configs/vindr_rib.py            # or vindr_rib.py:paper

Data: 18,000 PA films, PhysioNet, doi 10.13026/3akn-b287, with the user's own
credentials (training and a data use agreement; no sharing, no re-identification).
**No number has been produced on it here**; docs/public_data.md says what to expect.
"""

from configs import base


def get_config(scale: str = "laptop"):
    config = base.get_config("rib", scale or "laptop")
    # where PhysioNet's own command puts it; without a folder the phantom would be used
    config.registry = "physionet.org/files/vindr-cxr/1.0.0"
    # some 40 positives, nearly all boxed [recall]: 20 stay R, the rest is P
    config.data.region_images = 20
    return config
