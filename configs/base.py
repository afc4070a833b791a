"""Every field of a run, once: its default, its unit and where it comes from.

Each is a flag, such as --config.distill.center=0.3.

Sources: [paper] read in its abstract or front matter, [2nd] quoted by others, [recall]
remembered and not checked, [ours] our own decision.
`laptop` and `paper` differ only in the fields that they name.
"""

from typing import Any

from ml_collections import ConfigDict, config_dict

# What `SCALE+regularised` changes, for any method [ours]; docs/methods.md
REGULARISED = {
    "model.dropout": 0.25,
    "augment.gamma": 0.3,
    "augment.erase": 0.15,
    "augment.noise": 0.06,
}


def get_config(finding: str, scale: str = "laptop") -> Any:
    """The config of one finding at `laptop` or `paper` scale.

    `laptop+regularised` adds dropout and stronger augmentation.
    """
    scales = {"laptop": laptop, "paper": paper}
    name, plus, extra = scale.partition("+")
    if name not in scales or (plus and extra != "regularised"):
        raise ValueError(
            f"scale {scale!r} is unknown: use one of {sorted(scales)}, alone or with "
            "+regularised"
        )
    config = fields(finding)
    config.scale = name
    scales[name](config)
    if extra:
        config.update_from_flattened_dict(REGULARISED)
    return config


def fields(finding: str) -> Any:
    """All fields with the values that every scale shares."""
    config: Any = ConfigDict()
    # name of a label column or of a site in regions.csv, or rib / clavicle (from
    # diagnosis codes)
    config.finding = finding
    config.scale = ""
    config.method = "aals"  # a row of aals_jax.method.methods.METHODS
    config.seed = 0  # seed of the initial weights, the order and the augmentation
    config.registry = config_dict.placeholder(str)  # folder; none: the phantom
    config.log_every = 50  # steps between two log points
    # d of the teacher's average [recall]; min(d, (1 + t) / (10 + t)) at step t [ours]
    config.ema_decay = 0.999

    config.data = data()

    config.phantom = phantom = section()  # used where there is no registry
    phantom.images = 2_000  # number of films drawn
    phantom.height = 384  # px of a film, before DICOM's varying spacing
    phantom.difficulty = "middle"  # impossible, hard, middle, easy
    phantom.prevalence = 0.25  # share of images with each finding
    phantom.boxed_share = 0.8  # share of the positives that have boxes
    # most images in R, where data.region_images says nothing; none: all. A registry of
    # your own is never limited by it
    phantom.region_images = config_dict.placeholder(int)
    phantom.seed = 0  # seed of everything drawn

    config.model = model = section()
    # or resnet18, 34, 50, 101, 152; vit: a frozen one of model.pretrained
    model.backbone = "narrow"
    model.width = 16  # channels of the first stage
    model.fpn_channels = 16  # channels of the feature pyramid
    # channels of the input; 3: the grey image three times. Pretrained weights give the
    # same maps with either, 1 is faster
    model.stem_channels = 1
    # .safetensors or .npz with torchvision's or timm's weights of the backbone, from
    # which stage 1 starts; empty: random weights. docs/pretrained.md
    model.pretrained = ""
    model.pretrained_sha256 = ""  # of that file, if it is to be checked
    model.pretrained_source = ""  # where it comes from, if its metadata don't say it
    model.pretrained_license = ""  # likewise
    # 1 to 4: the stem and as many stages of the backbone do not learn, in both stages
    # of the training; 0: all of it learns
    model.frozen_stages = 0
    # whether BatchNorm normalises by its running statistics in training too, and
    # leaves them as they are
    model.frozen_norm = False
    # whether training keeps the inputs of the backbone's blocks alone and computes the
    # rest of a block again for its gradient: less memory, more time
    model.remat = False
    model.dtype = "float32"  # type of the computation; params are always float32
    # share of the last channels that training drops, whole and anew for each image
    # [ours]
    model.dropout = 0.0
    model.densenet = (
        "narrow"  # or densenet121, 169: the net of chexnet, which has no FPN
    )

    # read for model.backbone=vit alone, whose sizes are its file's; docs/pretrained.md
    config.vit = vit = section()
    vit.heads = 0  # of attention; 0: one for each 64 channels, as in DINO and DINOv2
    # of the images that it was trained on, by colour, where white is 1; none: what the
    # file's metadata image_mean and image_std say, else ImageNet's
    vit.mean = ()
    vit.std = ()

    config.augment = augment = section()  # kinds [recall], ranges [ours]
    augment.rotation_deg = 20.0  # degrees at most, either way
    augment.scale = (0.85, 1.2)  # least and largest factor of size
    augment.shift = 0.11  # at most, either way, as a share of the side
    augment.flip = True  # left and right exchanged in half of the images
    augment.intensity = 0.1  # added or taken away, at most
    augment.contrast = 0.3  # a factor of at most 1 + this, at least 1 / (1 + this)
    augment.noise = 0.03  # largest standard deviation
    augment.gamma = 0.0  # an exponent of at most 1 + this, at least 1 / (1 + this)
    # longest side of a rectangle that takes the mean grey, as a share of the side
    augment.erase = 0.0

    config.batch = batch = section()  # images per step, over all devices [ours]
    batch.region = 8  # images of R, positive with boxes
    batch.negative = 8  # images of N, negative
    batch.image_level = 8  # images of P, positive without boxes
    # micro-batches of a step, computed one after the other: less memory. BatchNorm
    # normalises each by its own statistics
    batch.accumulate = 1

    config.pretrain = stage(steps=1_500, learning_rate=3e-3)
    config.distill = distill = stage(steps=600, learning_rate=1e-3)
    distill.max_strength = 4.0  # a0 [ours]; the paper's value is not known to us
    distill.center = 0.4  # t [2nd]
    distill.weight = 1.0  # lambda, weight of the loss on P [ours]
    # steps over which lambda rises; 0: the method's default (see ramp_share) [ours]
    distill.ramp_steps = 0
    # what lambda compares: the mean over P with that over R and N (term), or an image
    # with an image (image). With 8 P beside 8 R + 8 N, `term` gives an image of P twice
    # the weight of another one; `image` divides that by two [ours]
    distill.balance = "term"
    # the network of stage 1 from which stage 2 starts: student, or its average [ours]
    distill.start = "student"
    # the teacher's view of P: as the method's row has it (method), without photometry
    # (plain), with photometry of its own (photometry) [ours]
    distill.teacher_view = "method"
    # each read by some methods only; see aals_jax.method.methods
    distill.ramp_share = 0.25  # share of the steps, in methods where lambda rises
    # decay of the averaged maps at each visit of an image [2nd, Laine and Aila]
    distill.ensemble_decay = 0.6
    distill.ensemble_side = 64  # largest side of the maps kept for P, px [ours]
    distill.cell = 4  # side of a grid cell, px of the map: 12 x 12 cells [recall]
    distill.box_weight = 5.0  # weight of images with boxes, mil [recall, Li et al.]
    # r of log-sum-exp over the map's logits [ours, measured: docs/methods.md]
    distill.pool_sharpness = 5.0
    distill.pooled_weight = 0.1  # factor of lambda, pooled_label [ours]
    # share of the film in the confidence region, dense_teacher [recall, Zhou et al.]
    distill.region_share = 0.01
    distill.focus = 2.0  # exponent of its quality focal loss [recall, Li et al.]
    # our own options of aals, off by default
    # leave, or raise: images whose peak is below t get a t of their own
    distill.dead_zone = "leave"
    distill.dead_zone_share = 0.5  # that t, as a share of the image's peak
    # share of the film that a lesion takes; above 0, t follows from the number of
    # lesions that the record names
    distill.lesion_area = 0.0
    # share of P that may have its peak below t; above 0, t is lowered, never raised, as
    # the peaks on validation's positives say before stage 2. For asymmetric too
    distill.dead_share = 0.0

    # read by methods with a head of boxes; see aals_jax.models.heads
    config.boxes = boxes = section()
    # px, of the finest level of the pyramid; coarser ones follow, each of twice the
    # stride, up to 64. The nets of the papers have 8, for images of 800 px and more
    boxes.finest_stride = 4
    boxes.convs = 2  # of a tower of the head; 4 [FCOS, RetinaNet]
    # fcos: how near to a box's centre a location has to be, in strides [FCOS]
    boxes.center_radius = 1.5
    # fcos: farthest edge of a box that a level finds, in strides, but for the coarsest;
    # the next level goes on from there [FCOS]
    boxes.size_limit = 8.0
    # retinanet: side of the smallest square anchor, in strides [RetinaNet]
    boxes.anchor_scale = 4.0
    boxes.focal_alpha = (
        0.25  # weight of an anchor with a box, 1 - this of others [both]
    )
    boxes.focal_gamma = 2.0  # power of the focal loss [both]
    boxes.top_k = 1_000  # best anchors of each level that are detections [both]
    boxes.nms_iou = 0.5  # of two detections; the worse one goes above it [RetinaNet]

    # jax.profiler's trace of these steps of each stage, in WORKDIR/profile for
    # TensorBoard; 0: none
    config.profile = profile = section()
    profile.first = 0  # first step that is traced, from 1
    profile.last = 0  # last one

    config.evaluation = evaluation = section()
    evaluation.batch_size = 32  # images
    evaluation.replicates = 2_000  # replicates of the bootstrap, which draws patients
    evaluation.seed = 0  # seed of the bootstrap
    # how a map becomes the image's score: max, top_k_mean, log_sum_exp, mean_logit;
    # a method that has one of its own keeps that; of boxes, max
    evaluation.pooling = "max"
    # suppression: the highest pixel of a map, the highest beyond its reach, and so on;
    # peaks: local ones alone, so that lesions on one hill of the map are one detection
    evaluation.detections = "suppression"
    evaluation.min_distance = 0.03  # between two detections, as a share of the side
    evaluation.threshold = 0.001  # lowest probability of a detection
    evaluation.max_detections = 50  # per image
    return config


def data() -> Any:
    """What is trained on, and how it is built."""
    config: Any = section()
    config.dir = "runs/datasets"  # folder of prepared datasets, shared by runs
    config.key_file = config_dict.placeholder(str)  # none: pseudonym.key in that folder
    config.side = 192  # px of the square that a film is padded to
    config.bits = 8  # stored grey levels, 8 or 16
    config.fold = 0  # 0 to 4; each of five trains on 70 %, tests on 20 % [recall]
    config.seed = 0  # seed of the ten parts and of the choice of R
    config.region_images = config_dict.placeholder(int)  # most images in R; none: all
    config.label_noise = 0.0  # share of P that changes places with N, for studies
    config.max_bad_share = 0.02  # share of unusable images above which the build fails
    config.allow = ()  # names of checks of the registry that may fail
    config.parts_file = config_dict.placeholder(str)  # parts.csv of a build to follow
    config.keep_non_acute = False  # whether later encounters and sequelae are positive
    config.point_radius = 32.0  # half the side of a point's box, px of the stored image
    config.reports = reports = section()  # how labels are read from the column `report`
    reports.read = "auto"  # auto: where nothing else defines the label; always, never
    reports.languages = ("en",)  # en, de, zh
    reports.rules = config_dict.placeholder(str)  # table of patterns, beside our own
    reports.labels = config_dict.placeholder(str)  # table of labels of your own reader
    reports.silence = "negative"  # what no mention means: negative, unknown
    # processes of the build; 0: none but this one, without timeout_s and memory_gib
    config.workers = 2
    config.timeout_s = 60.0  # s that the build gives to one file
    config.memory_gib = 4.0  # GiB that the build gives to one process
    config.beam = ""  # pipeline options of Apache Beam; with any, Beam builds
    config.threads = 2  # threads of the input pipeline
    return config


def section() -> Any:
    """A group of fields."""
    return ConfigDict()


def stage(**values) -> Any:
    """Fields that both training stages have."""
    config: Any = ConfigDict()
    config.optimizer = "adam"  # [recall]; adamw and sgd exist too
    config.weight_decay = 1e-4  # [recall]
    config.clip_norm = 0.0  # largest norm of a gradient; 0: no limit
    config.schedule = "cosine"  # schedule of the learning rate; constant exists too
    config.warmup_steps = 100  # steps over which the learning rate rises
    config.backbone_rate = 1.0  # factor of the learning rate in the backbone
    # a further factor for each of the backbone's stages from the last to the stem
    config.layer_decay = 1.0
    config.head_steps = 0  # first steps, in which head and pyramid alone are updated
    config.eval_every = 250  # steps between two validations, each with a checkpoint
    config.update(values)
    return config


def laptop(config: Any) -> None:
    """Minutes on two cores. Everything here is [ours]; see docs/laptop.md."""
    config.ema_decay = 0.99
    # few boxes, so that there is room between supervised and oracle, and as many as
    # stage 1 needs: docs/laptop.md. The others are withheld, and the oracle gets them
    few = 32 if config.finding == "rib" else 16
    config.phantom.update(prevalence=0.4, boxed_share=1.0, region_images=few)
    config.distill.update(max_strength=8.0, center=0.2)
    # Adam's decay is part of the gradient, which is small where 1 pixel in 200 is
    # positive. A run of ribs with 1e-4 left the plateau 350 updates later than one
    # without: docs/laptop.md
    for stage_config in (config.pretrain, config.distill):
        stage_config.weight_decay = 0.0


def paper(config: Any) -> None:
    """The full recipe; needs a registry and accelerators."""
    config.data.side = 1024  # [recall]
    config.model.update(backbone="resnet50", width=64, fpn_channels=256)  # [paper]
    config.model.update(dtype="bfloat16", densenet="densenet121")
    config.batch.update(region=8, negative=24, image_level=16)  # 48 in all [recall]
    config.distill.cell = 16  # 16 x 16 cells [recall]
    config.boxes.update(finest_stride=8, convs=4)  # [FCOS, RetinaNet]
    # 25 epochs [recall] of 0.7 * 65,845 images in batches of 48
    for stage_config in (config.pretrain, config.distill):
        stage_config.update(
            steps=24_000,
            learning_rate=4e-5,  # [recall]
            schedule="constant",
            warmup_steps=0,
            eval_every=1_000,
        )
