"""One finding of NIH ChestX-ray14; pneumonia unless another one is named.

    python -m data.public.nih_cxr14 --download nih_cxr14 --splits parts
    python launch.py --config configs/nih_cxr14.py
    python launch.py --config configs/nih_cxr14.py:pneumothorax   # or :mass,paper

Data: 112,120 frontal films, 30,805 patients, nihcc.app.box.com/v/ChestXray-NIHCC; the
NIH Clinical Center sets no restriction on use and asks to be named and cited (Wang et
al., CVPR 2017). Labels are mined from reports; 8 findings have boxes, all in the
official test split, so --splits parts is needed to train with boxes.
**No number has been produced on the full set here**; docs/public_data.md.
"""

from configs import base
from data.public import nih_cxr14


def get_config(choice: str = "pneumonia"):
    """`choice`: a finding with boxes, then "," and a scale."""
    finding, _, scale = (choice or "pneumonia").partition(",")
    if finding not in nih_cxr14.BOXED:
        raise ValueError(
            f"{finding!r} has no boxes: use one of {', '.join(nih_cxr14.BOXED)}"
        )
    config = base.get_config(finding, scale or "laptop")
    # a path of the reader's; without a folder the phantom would be used
    config.registry = "nih_cxr14"
    config.data.region_images = None  # all boxed are R; P is ten times as many
    return config
