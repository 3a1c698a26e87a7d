"""Every key of a run, with its type, unit and reason. Other configs start from here and override few.

On the command line: `--config=configs/camvid.py:fraction=1_8 --config.student.epochs=90`.
"""

from ml_collections import ConfigDict

from configs import _methods
from configs._options import choose_networks as choose_networks  # configurations have all of it from here
from configs._options import one_of as one_of
from configs._options import options as options


def training() -> ConfigDict:
    """What `teacher` and `student` hold: one training stage (paper §4.2 unless said otherwise)."""
    c = ConfigDict()

    # Network. `python -m csst_jax.models` lists the networks of the zoo. The other keys are options of its builder.
    c.network = "fast_scnn"  # a name of the zoo (docs/zoo.md)
    c.lineage = ""  # published variant, where code bases differ; empty = the one that the paper uses
    c.output_stride = 0  # 8 or 16, of dilated networks; 0 = the network's own
    c.width = 1.0  # channel multiplier; below 1 for tests
    c.depth = 1.0  # multiplier of the blocks in a stage; below 1 for tests
    # Weights to start from: a file that `python -m csst_jax.import_weights` wrote, or a trained network; imagenet =
    # those of an installed package (networks on EfficientNet-Lite0); empty = random ones.
    # The file also gives lineage and preprocessing. With as many classes it also gives the
    # classifier: by the names of the classes, if the file has them.
    c.pretrained = ""
    c.dtype = "float32"  # compute dtype; parameters and statistics stay float32
    c.remat = False  # residual blocks keep only their inputs for the backward pass and compute the rest again

    # Length and size. A size of -1 is chosen from the data and the machine before the first stage begins. It is kept in
    # the workdir's sizes.json, so that a run continues with it on any machine.
    c.epochs = 180  # epochs of `samples_per_epoch` crops; 0 takes the pretrained weights as they are
    c.samples_per_epoch = 0  # crops per epoch; 0 = the number of training images (real + pseudo); -1 = chosen
    c.crop_px = 800  # side of the full crop; -1 = chosen
    c.batch_size = 16  # crops per step at the full crop, over all devices; -1 = chosen
    # Micro-batches that a step takes one after another, in the memory of one; 1 = the batch at once. Each has its own
    # batch statistics and hard pixels. Losses and gradients are means over them, weighted by their valid pixels. At
    # the end of a step, corrmatch, dst_cbc, freematch, hlcon and u2pl predict all unlabelled crops at once.
    c.accumulate = 1

    # Fast schedule. Crop size and batch size change by epoch (paper §3.3).
    c.schedule = ConfigDict()
    # coarse2fine goes from the smallest crop to the full one, fine2coarse back. With +, the sizes change from epoch to
    # epoch and start over. constant keeps the full crop.
    c.schedule.kind = "coarse2fine+"
    # Number of sizes, evenly spaced (six from 400 to 800 take 1.69 times fewer pixels); -1 = chosen.
    c.schedule.num_sizes = 6
    c.schedule.smallest_share = 0.5  # side of the smallest crop as a share of crop_px
    c.schedule.stride = 32  # sizes other than the full one are multiples of this
    c.schedule.max_batch_factor = 4  # the batch grows to at most this times batch_size (paper: 16 to 64)

    # Learning rate. It is base * (1 - epoch / epochs) ** power.
    c.lr = ConfigDict()
    c.lr.base = 0.02  # rate at the start
    c.lr.power = 0.9  # exponent of the decay
    c.lr.per = "epoch"  # decays per epoch, as in the paper, or per step
    c.lr.batch_rule = "none"  # factor for the growing batch; the paper gives none, and neither do we
    c.lr.warmup_steps = 0  # steps in which the rate rises from 0

    # Steps that are not finite. A step whose loss or gradient is not finite changes nothing.
    # One more than `nonfinite_steps` ends the run; steps before a restart count. A file nonfinite-STEP.json in the
    # stage's directory describes each.
    c.nonfinite_steps = 0  # steps that may be left out

    # Snapshots. Networks of earlier epochs, at equal distances, are kept in the stage's `snapshots`.
    c.snapshots = 0  # number of snapshots; `label.reliable_share` needs those of the teacher (2, as published)

    # Optimizer. Each optimizer has a block of its own numbers.
    c.optimizer = ConfigDict()
    c.optimizer.name = "sgd"  # the optimizer
    c.optimizer.sgd = ConfigDict({"momentum": 0.9, "weight_decay": 1e-4})  # decay joins the gradient, as in PyTorch
    c.optimizer.adamw = ConfigDict({"b1": 0.9, "b2": 0.999, "eps": 1e-8, "weight_decay": 0.01})  # decoupled decay
    # Factors on the learning rate: pairs of a pattern, which is searched for in a parameter's dotted name, and a
    # factor. The first that matches counts. (("^backbone", 0.1),) trains the backbone ten times slower.
    c.optimizer.rate_factors = ()
    c.optimizer.decay_factors = ()  # the same pairs, for the weight decay

    # Method. It defines what is minimised, and on which crops. See docs/methods.md.
    c.method = ConfigDict()
    c.method.name = "supervised"  # a name of csst_jax/methods
    # Real and pseudo-labelled crops in fixed shares of a step: `real_parts` to `pseudo_parts` (0 leaves a kind out).
    # Each kind has its view (weak or strong), the weight of its mean loss, and OHEM or not. `classmix`, `cutmix` and
    # `cutout` are probabilities. classmix pastes half of a real crop's classes into a pseudo-labelled crop. cutmix
    # pastes a box of another crop into a strong crop, and cutout takes a box out of it.
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
    # Mean teacher. An average of the weights (`decay` per step) labels unlabelled crops. Pixels below the confidence
    # threshold are not learned. The weight of this loss rises in `ramp_up_steps` steps.
    c.method.mean_teacher = ConfigDict(
        {"decay": 0.996, "confidence_threshold": 0.95, "weight": 1.0, "ramp_up_steps": 500}
    )
    # Consistency regularisation (paper §3.1.1, eq. 4). The network learns its own labels of the weak view on the strong
    # one. A threshold of 0 learns all pixels. confidence_threshold=0.95 with cutmix=0.5 is FixMatch.
    c.method.consistency = ConfigDict({"confidence_threshold": 0.0, "weight": 1.0, "cutmix": 0.0})
    # UniMatch. Two strong views, and features without some channels, learn the labels of the weak view. Real labels
    # weigh 1, and the sum is halved, as published. The published threshold is 0 for Cityscapes.
    c.method.unimatch = ConfigDict(
        {"confidence_threshold": 0.95, "strong_weight": 0.25, "feature_weight": 0.5, "dropout": 0.5, "cutmix": 0.5}
    )
    # UniMatch V2. An average of the weights labels. Each of two strong views learns without the other's channels.
    c.method.unimatch_v2 = ConfigDict(
        {"decay": 0.996, "confidence_threshold": 0.95, "strong_weight": 0.5, "cutmix": 0.5}
    )
    # Model regulariser (paper eq. 7). On pseudo labels -log p of all classes joins the loss: their mean, with CRST's
    # weight, or their sum, as the paper writes it without a weight.
    c.method.model_regulariser = ConfigDict({"weight": 0.1, "over_classes": "mean"})
    _methods.add(c)
    # Predict with an average of the weights over the steps (EMA). Each step keeps this share of it, for example 0.996.
    # 0 = predict with the last step's weights.
    c.average_decay = 0.0
    # Batches over which the statistics of batch normalisation are measured after the last step (precise BN). Their full
    # crops are drawn evenly from the stage's images, in the weak view. 0 = keep the running averages. These come from
    # the last ten steps or so, whose crops lie around rare classes and may be strongly augmented.
    c.precise_bn_steps = 0

    # Loss. OHEM keeps the pixels whose ground-truth probability is at most a threshold, and at least a share of the
    # valid ones. The paper gives no values. These are TorchSeg's (docs/adr/0004-ohem.md).
    c.loss = ConfigDict()
    c.loss.name = "cross_entropy"  # loss of a pixel: a name of csst_jax/losses
    # A weight for each class, in the order of the classes. The loss is the weighted mean over pixels. 0 leaves a class
    # out.
    c.loss.class_weights = ()
    c.loss.ohem = True  # whether only hard pixels count
    c.loss.ohem_threshold = 0.7  # largest probability of a hard pixel
    c.loss.ohem_min_kept = 1 / 16  # share of the valid pixels of the global batch that is kept at least
    # Weight of each auxiliary head; -1 = what the network's reference gives (`aux_weights` in its file), else 0.4.
    c.loss.aux_weight = -1.0

    # Sampler. It chooses the crops (paper §3.2).
    c.sampler = ConfigDict()
    # centroid is the paper's; class_uniform_tiles is VPLR's (the paper's [11]); uniform is the paper's "without
    # centroid sampling".
    c.sampler.name = "centroid"
    # Smallest component of a real label that may be a crop's centre. -1 = by class, from the data: a class's smallest
    # components are left out as long as they hold at most 1 % of its pixels (`python -m data_prep.check` shows them).
    # The paper leaves out none (0), but half of the components of some classes are specks of a few pixels.
    c.sampler.min_area_px = -1
    c.sampler.pseudo_min_area_px = -1  # the same for pseudo labels, whose specks would crowd the index
    c.sampler.real_share = -1.0  # share of (each class's) draws from real labels; -1 = the union, as in the paper
    # Side of a tile in pixels of the image, and share of an epoch's crops that are drawn evenly from classes.
    c.sampler.class_uniform_tiles = ConfigDict({"tile_px": 1024, "share": 0.5})

    # Augmentation. The host scales; the compiled step does the rest.
    c.augment = ConfigDict()
    c.augment.scale_min = 0.5  # smallest scale of a crop
    c.augment.scale_max = 2.0  # largest scale of a crop
    c.augment.flip = 0.5  # probability of a mirrored crop
    c.augment.jitter = 0.1  # strength of the colour jitter
    c.augment.blur = 0.5  # probability of Gaussian blur
    # The strong view, for methods that ask for one: strength of the jitter; probabilities of jitter, grey and blur.
    # These are UniMatch's. The blur itself is weaker than UniMatch's: a sigma from 0.15 to 1.3 px, not from 0.1 to 2.
    c.augment.strong = ConfigDict({"jitter": 0.5, "jitter_share": 0.8, "grey": 0.2, "blur": 0.5})
    return c


def prediction() -> ConfigDict:
    """What `label` and `evaluate` hold: how an image is predicted."""
    c = ConfigDict()
    c.scales = (1.0,)  # probabilities are averaged over these magnifications
    c.flip = False  # whether they are averaged over the mirrored image as well
    # Side of overlapping windows, which the network sees one after another at every scale; 0 = whole images. Use
    # windows for images that do not fit the memory, or to show the network the size that it was trained on (crop_px).
    c.window_px = 0
    c.window_overlap = 1 / 3  # share of a window's side that its neighbour sees as well
    # Sides are padded to multiples of this; 1 = no padding. Every size of images is a program to compile. For data sets
    # of many sizes give the side that most of them fit into (VOC: 512).
    c.pad_px = 1
    return c


def get_config() -> ConfigDict:
    """The paper's recipe for Cityscapes-sized data (§4.2), FastSCNN as teacher and student."""
    c = ConfigDict()
    # Run. These keys hold for all stages.
    c.seed = 0  # seed of initial values, crops and augmentation; a student adds the number of its round
    # Stages to run, separated by commas: teacher, label, student, baseline, evaluate. A finished stage is skipped.
    c.stages = "teacher,label,student,evaluate"
    # Rounds of self-training. The student of a round labels the pool for the next one. The last round's student is the
    # run's. Earlier rounds lie in WORKDIR/rounds/1, 2, …
    c.rounds = 1
    # A run to continue training from, in a new workdir: its workdir, or a file of a network. Teacher and student both
    # start from its student. If it has no student, or one of another network, they start from its teacher. The key
    # replaces `pretrained`.
    # Classes keep their part of the classifier by name. Empty = none.
    c.start_from = ""
    # The student is no second network: it is the teacher, fine-tuned on real and pseudo labels (paper eq. 5).
    # The paper's learning rate for it is 0.002: set student.lr.base.
    c.finetune_teacher = False

    # Data. `data_prep` prepares data sets.
    c.data = ConfigDict()
    c.data.dir = ""  # a prepared data set: its directory, or one above that holds only this one; also gs://…
    c.data.train_split = "train"  # split to train on
    c.data.val_split = "val"  # split to evaluate on
    # Text file with the ids of the masks to use, one per line. All other images of the split are unlabelled.
    # Empty = every image that has a mask.
    c.data.labelled_ids = ""
    # Splits of other prepared data sets with the same classes, whose masks train as well: DIR:SPLIT, separated by
    # commas.
    c.data.more_labelled = ""
    # Splits of other prepared data sets whose images join the unlabelled pool; classes and masks do not matter.
    # DIR:SPLIT:COUNT takes COUNT images of a split, evenly spaced.
    c.data.more_unlabelled = ""

    c.teacher = training()
    c.student = training()

    # Baseline. This is the control of the paper's Table 1b: the teacher's recipe for as many steps as the student took.
    c.baseline = ConfigDict()
    c.baseline.longer_by = "epochs"  # more epochs, or copies: real labels are repeated in each epoch, as in the paper

    # Pseudo labels. The teacher labels every unlabelled image, with hard labels by default (paper §3.1, eq. 2).
    c.label = prediction()
    c.label.confidence_threshold = 0.0  # pixels with a lower confidence become void; 0 = off, as in the paper
    # Share of each class's pixels, the most confident ones, that keep their label (CBST's portions); 0 = off. Unlike
    # one threshold for all classes, it keeps the classes' shares as they are. The thresholds are measured on at most
    # 128 images of the pool.
    c.label.class_portion = 0.0
    # Added to class_portion in every round after the first. CBST begins with 0.2 and adds 0.05.
    c.label.class_portion_growth = 0.0
    # With class_portion: a pixel keeps its label if it reaches the lower threshold of its two most probable classes.
    # Otherwise, at a border between sky and tree, pixels labelled *tree* stay and pixels labelled *sky* become void,
    # because the threshold of sky is much higher. With class_portion=0.5 about three quarters of the pixels then keep
    # a label.
    c.label.lower_of_two = False
    # If the teacher predicts a class more rarely than the masks show it, pixels that may belong to it become void.
    c.label.void_missed = False
    # Soft labels (paper eq. 6). The `k` most probable classes of a pixel are stored, with probabilities of `bits` bits,
    # and the student learns these. k=0 is hard labels, k=3 is usual.
    c.label.soft = ConfigDict({"k": 0, "bits": 8})
    # Share of the pool's images that the first of two rounds trains on, as in ST++ (0.5); 0 = all. These images are the
    # ones whose labels agree best with the labels of the teacher's snapshots. They keep their labels in round two.
    c.label.reliable_share = 0.0
    c.label.shard_size = 256  # images per file; an interrupted run continues after the last whole file

    # Evaluation. It scores val_split at original resolution (paper §4.3.7: scales 0.5, 1 and 2, flip, and windows).
    c.evaluate = prediction()
    c.evaluate.boundary_ratio = 0.02  # band of boundary IoU as a share of the diagonal (Cheng et al. 2021); 0 = off
    c.evaluate.batch_size = 4  # images per step, for labelling too; over all devices
    c.evaluate.num_pictures = 8  # rows of the contact sheets
    # Scores of a few validation images while a stage trains (docs/while_it_trains.md). They choose nothing.
    # Epochs from one score to the next; 0 = none; -1 = up to five scores per stage, as far as they cost little.
    c.evaluate.every_epochs = -1
    c.evaluate.images_while_training = 8  # images that are scored while a stage trains

    # Normalisation. Images are RGB in 0 to 1. The defaults are ImageNet's, as pretrained backbones expect.
    c.normalisation = ConfigDict()
    c.normalisation.mean = (0.485, 0.456, 0.406)  # mean of each channel
    c.normalisation.std = (0.229, 0.224, 0.225)  # standard deviation of each channel

    # Devices. The product of `data` and `spatial` is the number of all devices.
    c.mesh = ConfigDict()
    c.mesh.data = -1  # devices that share the batch; -1 = as many as are left
    c.mesh.spatial = 1  # devices of one process that share an image's rows, for evaluation and labelling, too
    # Splits parameters and optimizer state over `data` (ZeRO). If False, every device holds all of them. It helps
    # networks whose state is large beside their features. Results are the same; each step gathers the parameters.
    c.mesh.split_state = False

    # Input. These keys change the speed and not the result.
    c.input = ConfigDict()
    c.input.parallel_batches = 2  # batches that tf.data prepares at the same time
    c.input.prefetch = 4  # finished batches kept ready
    c.input.cache_mb = 1024  # encoded images and labels (MiB) that a process keeps in memory once it has read them

    # Checkpoints and log. These keys do not change the result.
    c.checkpoint = ConfigDict()
    c.checkpoint.every_s = 300.0  # seconds between two checkpoints
    c.checkpoint.keep = 2  # newest checkpoints that are kept
    c.log_every_steps = 20  # steps between two lines of the log
    c.profile = ConfigDict()
    # First and last step, counted from 1, of which each stage writes a trace for TensorBoard or Perfetto; () = none.
    c.profile.steps = ()
    c.wandb = ConfigDict()
    c.wandb.project = ""  # project in Weights & Biases that gets the log as well; empty = none
    c.compilation_cache_dir = "~/.cache/csst_jax"  # JAX's persistent compilation cache; empty = off
    return c
