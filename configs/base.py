"""Every key of a run, with its type, unit and reason. Other configs start from here and override few.

On the command line: `--config=configs/camvid.py:fraction=1_8 --config.student.epochs=90`.
"""

from collections.abc import Mapping

from ml_collections import ConfigDict

from csst_jax.types import CsstError


def training() -> ConfigDict:
    """What `teacher` and `student` hold: one training stage (paper §4.2 unless said otherwise)."""
    c = ConfigDict()

    # The network: a name of the zoo (`python -m csst_jax.models` lists them), and options of its builder.
    c.network = "fast_scnn"
    c.lineage = ""  # whose version of it, where published ones differ; empty = the one the paper uses
    c.output_stride = 0  # 8 or 16, of dilated networks; 0 = the network's own
    c.width = 1.0  # channel multiplier; below 1 for tests
    c.depth = 1.0  # multiplier of the blocks in a stage; below 1 for tests
    # Weights to start from: a file that `python -m csst_jax.import_weights` wrote; imagenet = those of an installed
    # package (requirements-pretrained.txt; networks on EfficientNet-Lite0); empty = random ones. Lineage and
    # preprocessing come with them, and the classifier where the classes are as many.
    c.pretrained = ""
    c.dtype = "float32"  # compute dtype: float32 or bfloat16 (parameters and statistics stay float32)
    c.remat = False  # residual blocks keep their inputs alone for the backward pass and compute the rest again

    # How long and how large. -1 leaves a size open: it is chosen to fit the data and the machine before the first stage
    # begins (csst_jax/settings/sizes.py), told, and kept in the workdir's sizes.json. configs/folder.py does so.
    c.epochs = 180  # 0 takes the pretrained weights as they are
    c.samples_per_epoch = 0  # crops an epoch; 0 = the number of training images (real + pseudo); or -1
    c.crop_px = 800  # side of the full crop; or -1
    c.batch_size = 16  # crops a step at the full crop, over all devices; or -1
    # Micro-batches that a step takes one after another, for the memory of one; 1 = the batch at once. Each has its own
    # batch statistics and hard pixels; losses and gradients are means over them, weighted by their valid pixels.
    c.accumulate = 1

    # The fast schedule (paper §3.3): crop, and with it the batch, by epoch.
    c.schedule = ConfigDict()
    c.schedule.kind = "coarse2fine+"  # constant, coarse2fine, fine2coarse, coarse2fine+, fine2coarse+
    # Sizes from half of crop_px to crop_px (six from 400 to 800: 1.69 times fewer pixels); or -1.
    c.schedule.num_sizes = 6
    c.schedule.stride = 32  # sizes other than the full one are multiples of this
    c.schedule.max_batch_factor = 4  # the batch grows to at most this times batch_size (paper: 16 to 64)

    # The learning rate: base * (1 - epoch / epochs) ** power.
    c.lr = ConfigDict()
    c.lr.base = 0.02
    c.lr.power = 0.9
    c.lr.per = "epoch"  # decayed per epoch as the paper says, or per "step"
    c.lr.batch_rule = "none"  # for the growing batch: none, sqrt, linear. The paper gives none; neither do we.
    c.lr.warmup_steps = 0

    # Steps that may be left out because their loss or gradient is not finite; one more ends the run. A file
    # nonfinite-STEP.json in the stage's directory tells of each.
    c.nonfinite_steps = 0

    # The optimizer: sgd or adamw, and the numbers of each.
    c.optimizer = ConfigDict()
    c.optimizer.name = "sgd"
    c.optimizer.sgd = ConfigDict({"momentum": 0.9, "weight_decay": 1e-4})  # decay joins the gradient, as in PyTorch
    c.optimizer.adamw = ConfigDict({"b1": 0.9, "b2": 0.999, "eps": 1e-8, "weight_decay": 0.01})  # decoupled decay
    # Factors on learning rate and weight decay: pairs of a pattern (searched for in a parameter's dotted name) and a
    # factor; the first that matches counts. (("^backbone", 0.1),) trains the backbone ten times slower.
    c.optimizer.rate_factors = ()
    c.optimizer.decay_factors = ()

    # What is minimised, on which crops: supervised, real_and_pseudo or mean_teacher; a name of csst_jax/methods.
    c.method = ConfigDict()
    c.method.name = "supervised"
    # real_and_pseudo: of every so many crops of a step, these are real and pseudo-labelled (0 leaves a kind out). Each
    # kind has its view (weak or strong), the weight of its mean loss, and OHEM or not. With these probabilities a
    # pseudo-labelled crop gets half of a real crop's classes pasted in (classmix), and a strong crop gets a box of
    # another one (cutmix) or loses one (cutout).
    c.method.real_and_pseudo = ConfigDict(
        {
            "real_parts": 1,
            "pseudo_parts": 1,
            "real_view": "weak",
            "pseudo_view": "strong",
            "real_weight": 0.5,
            "pseudo_weight": 0.5,
            "real_ohem": True,
            "pseudo_ohem": False,
            "classmix": 0.0,
            "cutmix": 0.5,
            "cutout": 0.0,
        }
    )
    # mean_teacher: an average of the weights (`decay` a step) labels unlabelled crops; pixels that it is less sure of
    # than the threshold are not learned; the weight of that loss rises in so many steps.
    c.method.mean_teacher = ConfigDict(
        {"decay": 0.996, "confidence_threshold": 0.95, "weight": 1.0, "ramp_up_steps": 500}
    )
    # The weights that predict are an average over the steps, of which each keeps this share (0.996, say); 0 = the last
    # step's weights.
    c.average_decay = 0.0

    # The loss of a pixel: a name of csst_jax/losses. With OHEM, pixels count whose ground-truth probability is at most
    # the threshold, and at least a share of the valid ones. The paper gives no values: these are TorchSeg's
    # (docs/adr/0004-ohem.md).
    c.loss = ConfigDict()
    c.loss.name = "cross_entropy"
    c.loss.ohem = True
    c.loss.ohem_threshold = 0.7
    c.loss.ohem_min_kept = 1 / 16  # share of the valid pixels of the global batch
    # Weight of each auxiliary head; -1 = what the network's reference gives (`aux_weights` in its file), else 0.4.
    c.loss.aux_weight = -1.0

    # Which crops (paper §3.2).
    c.sampler = ConfigDict()
    # centroid, class_uniform_tiles (of VPLR, the paper's [11]), or uniform (the paper's "without centroid sampling")
    c.sampler.name = "centroid"
    # Smallest component of a real label that may be a crop's centre. -1 = by class, from the data: a class's smallest
    # components are left out as long as they hold at most 1 % of its pixels (`python -m data_prep.check` shows them).
    # The paper leaves out none (0), but half of the components of some classes are specks of a few pixels.
    c.sampler.min_area_px = -1
    c.sampler.pseudo_min_area_px = -1  # the same for pseudo labels, whose specks would crowd the index
    c.sampler.real_share = -1.0  # share of (each class's) draws from real labels; -1 = the union, as in the paper
    # class_uniform_tiles: side of a tile in pixels of the image; share of an epoch's crops drawn evenly from classes.
    c.sampler.class_uniform_tiles = ConfigDict({"tile_px": 1024, "share": 0.5})

    # Augmentation: the scale on the host, the others inside the step.
    c.augment = ConfigDict()
    c.augment.scale_min = 0.5
    c.augment.scale_max = 2.0
    c.augment.flip = 0.5  # probability
    c.augment.jitter = 0.1
    c.augment.blur = 0.5  # probability
    # The strong view, for methods that ask for one: jitter; probabilities of jitter, grey and blur (UniMatch's).
    c.augment.strong = ConfigDict({"jitter": 0.5, "jitter_share": 0.8, "grey": 0.2, "blur": 0.5})
    return c


def prediction() -> ConfigDict:
    """What `label` and `evaluate` hold: how an image is predicted."""
    c = ConfigDict()
    c.scales = (1.0,)  # probabilities are averaged over these magnifications
    c.flip = False  # and over the mirrored image
    # Side of overlapping windows, which the network sees one after another at every scale; 0 = whole images. For images
    # that are larger than the memory allows, or to show the network what it was trained on: its crop_px.
    c.window_px = 0
    c.window_overlap = 1 / 3  # share of a window's side that its neighbour sees as well
    # Sides are padded to multiples of this, 1 = not at all. Every size of images is a program to compile: for data sets
    # of many sizes give the side that most of them fit into (VOC: 512).
    c.pad_px = 1
    return c


def get_config() -> ConfigDict:
    """The paper's recipe for Cityscapes-sized data (§4.2), FastSCNN as teacher and student."""
    c = ConfigDict()
    c.seed = 0

    # Boxes to run, comma separated, of: teacher, label, student, baseline, evaluate. A stage that is done is skipped.
    c.stages = "teacher,label,student,evaluate"

    c.data = ConfigDict()
    c.data.dir = ""  # a prepared data set (see data_prep): its directory, or one above that holds one; also gs://…
    c.data.train_split = "train"
    c.data.val_split = "val"
    # Text file with the ids of the masks to use, one a line; all other images of the split are unlabelled.
    # Empty: every image that has a mask.
    c.data.labelled_ids = ""
    # Splits of other prepared data sets that train as well: comma separated, each DIR:SPLIT. Those of the same classes
    # can bring masks; of any data set, images can join the unlabelled pool, whose masks nobody looks at.
    c.data.more_labelled = ""
    c.data.more_unlabelled = ""

    c.teacher = training()
    c.student = training()

    # The control (paper's Table 1b): the teacher's recipe for as many steps as the student took. By more "epochs",
    # or by "copies": as many epochs as the teacher's, in each of which the real labels are repeated, as the paper does.
    c.baseline = ConfigDict()
    c.baseline.longer_by = "epochs"

    # Pseudo labels (paper §3.1, eq. 2): hard, for every unlabelled image.
    c.label = prediction()
    c.label.confidence_threshold = 0.0  # pixels below become void; 0 = off, as in the paper
    # Share of each class's pixels, the surest ones, that keep their label even if the threshold is higher (CBST's
    # portions); 0 = one threshold for all classes.
    c.label.class_portion = 0.0
    c.label.shard_size = 256  # images a file; an interrupted run continues after the last whole file

    # Evaluation on val_split at original resolution (paper §4.3.7: scales 0.5, 1 and 2, flip, and tiles).
    c.evaluate = prediction()
    c.evaluate.boundary_ratio = 0.02  # band of boundary IoU as a share of the diagonal (Cheng et al. 2021); 0 = off
    c.evaluate.batch_size = 4  # images a step, for labelling too; over all devices
    c.evaluate.num_pictures = 8  # rows of the contact sheets

    c.normalisation = ConfigDict()  # of RGB in 0 to 1; ImageNet's, as pretrained backbones expect
    c.normalisation.mean = (0.485, 0.456, 0.406)
    c.normalisation.std = (0.229, 0.224, 0.225)

    c.mesh = ConfigDict()
    # Devices that share the batch, and devices that share an image's rows, of one process; their product is the number
    # of all devices, and -1 stands for as many as are left.
    c.mesh.data = -1
    c.mesh.spatial = 1  # for evaluation and labelling, too
    # Parameters and optimizer state are split over `data`, where every device would hold all of them (ZeRO): for
    # networks whose state is large beside their features. Results are the same; parameters are gathered at every step.
    c.mesh.split_state = False

    c.input = ConfigDict()
    c.input.parallel_batches = 2  # batches that tf.data prepares at the same time
    c.input.prefetch = 4  # finished batches kept ready
    c.input.cache_mb = 1024  # encoded images and labels (MiB) that a process keeps in memory once it has read them

    c.checkpoint = ConfigDict()
    c.checkpoint.every_s = 300.0
    c.checkpoint.keep = 2

    c.log_every_steps = 20
    c.compilation_cache_dir = "~/.cache/csst_jax"  # JAX's persistent compilation cache; empty = off
    return c


def one_of(name: str, value: str, known: Mapping[str, str]) -> str:
    """What an option's value stands for.

    Raises:
      CsstError: an unknown value; lists the known ones.
    """
    if value not in known:
        raise CsstError(f"option {name}={value} after the config's colon: give one of {', '.join(known)}.")
    return known[value]


def expect_weak_teacher(c: ConfigDict) -> None:
    """For a teacher that starts from random weights on few masks (measured: docs/adr/0006-unsure-pixels-are-void.md).

    It misses most thin and rare things, and is unsure where it does. Labelled as what is behind them, they would teach
    the student not to see them: void is better, and half of each class's crops from real masks.
    """
    c.label.flip = True
    c.label.confidence_threshold = 0.5
    c.student.sampler.real_share = 0.5


def few_masks(c: ConfigDict, pretrained: str, network: str = "light_fpn_efficientnet_lite0") -> None:
    """The recipe for few masks and a pretrained trunk (measured: docs/results/recipe.md).

    Teacher and student take as many steps, so the teacher's score is that of the masks alone. Half of the student's
    crops are real ones. The others have pseudo labels, void where the teacher is unsure, and are strongly augmented.
    """
    for stage in (c.teacher, c.student):
        stage.network, stage.pretrained = network, pretrained
        stage.schedule.kind = "constant"
        stage.lr.base, stage.lr.per = 0.02, "step"
        stage.loss.ohem = False
        stage.augment.blur = 0.0
    c.student.method.name = "real_and_pseudo"
    c.label.flip = True
    c.label.confidence_threshold = 0.6


def choose_networks(c: ConfigDict, net: str, student: str, pretrained: str) -> None:
    """Sets the teacher's network, the student's (empty: the same), and weights for whichever of them is `net`."""
    c.teacher.network, c.student.network = net, student or net
    for stage in (c.teacher, c.student):
        if stage.network == net:
            stage.pretrained = pretrained


def options(arg: str, **defaults: str) -> dict[str, str]:
    """Options after a config file's colon, `name=value` pairs separated by commas, on top of their defaults.

    Raises:
      CsstError: a pair without "=", or an unknown name; lists the known ones.
    """
    chosen = dict(defaults)
    for pair in filter(None, arg.split(",")):
        name, equals, value = pair.partition("=")
        if not equals or name not in defaults:
            raise CsstError(
                f"option {pair!r} after the config's colon: give name=value, name one of {', '.join(defaults)}."
            )
        chosen[name] = value
    return chosen
