"""Every field of a run, once, with its unit, its source and its standing.

Standing of what the paper's recipe says: [paper] read in its abstract or front matter,
[2nd] quoted by others, [recall] remembered and unchecked, [ours] our own decision.
`laptop` and `paper` differ only in the fields that they name.
"""

from typing import Any

from ml_collections import ConfigDict, config_dict


def get_config(finding: str, scale: str = "laptop") -> Any:
    """The config of one finding at `laptop` or `paper` scale."""
    scales = {"laptop": laptop, "paper": paper}
    if scale not in scales:
        raise ValueError(f"scale {scale!r} is unknown: use one of {sorted(scales)}")
    config = fields(finding)
    config.scale = scale
    scales[scale](config)
    return config


def fields(finding: str) -> Any:
    """All fields with the values that every scale shares."""
    config: Any = ConfigDict()
    config.finding = finding  # a column, a coded finding (rib, clavicle), or a site
    config.scale = ""
    config.method = "aals"  # a row of aals_jax.method.methods.METHODS
    config.seed = 0  # initial weights, order of the data, augmentation
    config.registry = config_dict.placeholder(str)  # folder; none: the phantom
    config.log_every = 50  # steps
    config.ema_decay = 0.999  # [recall]; warmed up by min(d, (1+t)/(10+t)) [ours]

    config.data = data()

    config.phantom = phantom = section()  # used where there is no registry
    phantom.images = 2_000
    phantom.height = 384  # px, before DICOM's varying spacing
    phantom.difficulty = "middle"  # impossible, hard, middle, easy
    phantom.prevalence = 0.25  # share of images with each finding
    phantom.boxed_share = 0.8  # of the positives that have boxes
    phantom.seed = 0

    config.model = model = section()
    model.backbone = "narrow"  # or resnet18, 34, 50, 101, 152
    model.width = 16  # channels of the first stage
    model.fpn_channels = 16
    model.stem_channels = 1  # 3 with pretrained weights
    model.dtype = "float32"  # of the computation; params are always float32

    config.augment = augment = section()  # kinds [recall], ranges [ours]
    augment.rotation_deg = 20.0
    augment.scale = (0.85, 1.2)
    augment.shift = 0.11  # share of the side
    augment.flip = True
    augment.intensity = 0.1
    augment.contrast = 0.3
    augment.noise = 0.03

    config.batch = batch = section()  # global images a step, by stream [ours]
    batch.region = 8
    batch.negative = 8
    batch.image_level = 8

    config.pretrain = stage(steps=1_500, learning_rate=3e-3)
    config.distill = distill = stage(steps=600, learning_rate=1e-3)
    distill.max_strength = 4.0  # a0 [ours]; its value is not known to us
    distill.center = 0.4  # t [2nd]
    distill.weight = 1.0  # lambda [ours]
    distill.ramp_steps = 0  # of lambda; 0: as the method does, most at once [ours]
    # read by single methods only; see aals_jax.method.methods
    distill.ramp_share = 0.25  # of the steps, in which lambda rises where it ramps
    distill.ensemble_decay = 0.6  # a prediction [2nd, Laine and Aila]
    distill.ensemble_side = 64  # px at most of the maps kept; of P alone [ours]
    distill.cell = 4  # px of the map, of a grid cell's side: 12 x 12 cells [recall]
    distill.box_weight = 5.0  # of images with boxes in mil [recall, Li et al.]
    distill.pool_sharpness = 10.0  # r of log-sum-exp over the map's logits [recall]
    # our own options of aals, off by default
    distill.dead_zone = "leave"  # raise: t of an image whose peak is below it moves
    distill.dead_zone_share = 0.5  # to this share of its peak
    distill.lesion_area = 0.0  # of the film, a lesion; > 0: t by the count of lesions

    config.evaluation = evaluation = section()
    evaluation.batch_size = 32
    evaluation.replicates = 2_000  # of the patient-level bootstrap
    evaluation.seed = 0
    evaluation.pooling = "max"  # map -> image score: max, top_k_mean, log_sum_exp
    evaluation.min_distance = 0.03  # between detections, share of the side
    evaluation.threshold = 0.001  # lowest probability of a detection
    evaluation.max_detections = 50  # an image
    return config


def data() -> Any:
    """What is trained on, and how it is built."""
    made: Any = section()
    made.dir = "runs/datasets"  # prepared datasets, shared by runs
    made.key_file = config_dict.placeholder(str)  # pseudonyms; none: DIR/pseudonym.key
    made.side = 192  # px, padded square
    made.bits = 8  # stored grey levels, 8 or 16
    made.fold = 0  # 0..4: five folds, 70/10/20 [recall]
    made.seed = 0  # of the ten parts and of the choice of R
    made.region_images = config_dict.placeholder(int)  # R at most; none: all boxed
    made.label_noise = 0.0  # for studies: share of P that changes places with N
    made.max_bad_share = 0.02  # of files quarantined before the build fails
    made.allow = ()  # names of registry checks that may pass
    made.parts_file = config_dict.placeholder(str)  # parts.csv of an earlier build
    made.keep_non_acute = False  # codes of later encounters, sequelae count as positive
    made.point_radius = 32.0  # stored px, half side of the box around a point
    made.reports = reports = section()  # labels from the column `report`
    reports.read = "auto"  # where nothing else gives the label; always, never
    reports.languages = ("en",)  # de exists too
    reports.rules = config_dict.placeholder(str)  # a table beside the built-in one
    reports.silence = "negative"  # what no mention means, or unknown
    made.workers = 2  # processes of the build; 0: none, without the next two bounds
    made.timeout_s = 60.0  # of the build, for one file
    made.memory_gib = 4.0  # of the build, for one process
    made.beam = ""  # Apache Beam's pipeline options: the build by its runner
    made.threads = 2  # threads of the input pipeline
    return made


def section() -> Any:
    return ConfigDict()


def stage(**values) -> Any:
    """Fields that both training stages have."""
    config: Any = ConfigDict()
    config.optimizer = "adam"  # [recall]; adamw and sgd exist too
    config.weight_decay = 1e-4  # [recall]
    config.clip_norm = 0.0  # 0: none
    config.schedule = "cosine"
    config.warmup_steps = 100
    config.eval_every = 250  # steps; also when a checkpoint is written
    config.update(values)
    return config


def laptop(config: Any) -> None:
    """Minutes on two cores. Everything here is [ours]; see docs/laptop.md."""
    config.ema_decay = 0.99
    config.data.region_images = 100


def paper(config: Any) -> None:
    """The full recipe; needs a registry and accelerators."""
    config.data.side = 1024  # [recall]
    config.data.region_images = None
    config.model.update(backbone="resnet50", width=64, fpn_channels=256)  # [paper]
    config.model.dtype = "bfloat16"
    config.batch.update(region=8, negative=24, image_level=16)  # 48 in all [recall]
    config.distill.cell = 16  # 16 x 16 cells [recall]
    # 25 epochs [recall] of 0.7 * 65,845 images in batches of 48
    for stage_config in (config.pretrain, config.distill):
        stage_config.update(
            steps=24_000,
            learning_rate=4e-5,  # [recall]
            schedule="constant",
            warmup_steps=0,
            eval_every=1_000,
        )
