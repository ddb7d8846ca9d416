import lightning as L
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dal_toolbox.augment import RECIPES
from dal_toolbox.classifiers import CLASSIFIERS
from dal_toolbox.datasets import ImageArray
from dal_toolbox.errors import UserError
from dal_toolbox.features import extract_features
from dal_toolbox.ssl.callbacks import (
    CleanFeatures,
    CollapseMonitor,
    KNNEvaluation,
    LinearEvaluation,
    ValidationLoss,
)
from dal_toolbox.ssl.callbacks.collapse import projection_std
from dal_toolbox.ssl.callbacks.report import Report
from dal_toolbox.ssl.evaluation import EvaluationPlan


@pytest.fixture
def mild(bundle):
    return RECIPES.build("simclr", size=8, mean=bundle.mean, std=bundle.std, strength=0.2)


class Modes(L.Callback):
    """Counts the modules in evaluation mode, and remembers the batch statistics."""

    def __init__(self):
        self.in_evaluation, self.statistics = [], []

    def on_train_epoch_end(self, trainer, pl_module):
        self.in_evaluation.append(sum(not module.training for module in pl_module.modules()))
        self.statistics.append(pl_module.encoder.bn1.running_mean.clone())


def test_evaluations_run_at_their_interval_and_at_the_end(train, clean, mild, bundle):
    callbacks = [
        ValidationLoss(bundle.val, mild, batch_size=64, interval=2),
        KNNEvaluation(clean, bundle.num_classes, interval=2),
        LinearEvaluation(clean, bundle.num_classes, interval=50, num_epochs=5),
    ]
    rows = train(images=bundle.train, callbacks=callbacks, epochs=3).rows
    with_metric = {
        key: [row["epoch"] for row in rows if key in row]
        for key in ("val/knn_accuracy", "val/linear_accuracy", "val/loss", "val/contrastive_top1")
    }
    assert with_metric == {
        "val/knn_accuracy": [0, 2, 3],  # 0: untrained
        "val/linear_accuracy": [3],
        "val/loss": [2, 3],
        "val/contrastive_top1": [2, 3],
    }
    assert rows[-1]["val/knn_accuracy"] > 0.3


def test_evaluations_do_not_touch_the_training(train, clean, mild, bundle):
    """Neither modes, nor batch statistics, nor the course of the losses."""
    modes = [Modes(), Modes()]
    callbacks = [
        KNNEvaluation(clean, 10, interval=1),
        LinearEvaluation(clean, 10, interval=1, num_epochs=2),
        ValidationLoss(bundle.val, mild, interval=1),
    ]
    plain = train("plain", callbacks=modes[:1])
    evaluated = train("evaluated", callbacks=[*callbacks, modes[1]])
    assert modes[0].in_evaluation == modes[1].in_evaluation == [0, 0, 0]
    assert all(map(torch.equal, modes[0].statistics, modes[1].statistics))
    losses = [row["train/loss"] for row in evaluated.rows if row["epoch"] > 0]
    assert [row["train/loss"] for row in plain.rows] == losses


def test_knn_accuracy_by_hand(train, clean, bundle):
    result = train(callbacks=[KNNEvaluation(clean, 10, k=7, temperature=0.1)], epochs=1)
    options = {"mean": bundle.mean, "std": bundle.std, "device": "cpu"}
    encoder = result.method.encoder
    x, keys = (
        F.normalize(extract_features(encoder, images, **options).double(), dim=1)
        for images in (bundle.val, bundle.train)
    )
    similarities, nearest = (x @ keys.T).topk(7)
    votes = torch.zeros(len(x), 10, dtype=torch.float64)
    labels = torch.from_numpy(bundle.train.targets)[nearest]
    votes.scatter_add_(1, labels, (similarities / 0.1).exp())
    expected = (votes.argmax(dim=1).numpy() == bundle.val.targets).mean()
    assert result.rows[-1]["val/knn_accuracy"] == pytest.approx(expected, abs=0.005)


def test_best_checkpoint_survives_an_interruption(train, interrupted, clean):
    def options():
        return {"callbacks": [KNNEvaluation(clean, 10, interval=1)], "monitor": "val/knn_accuracy"}

    whole = train("whole", **options())
    interrupted(2, folder="parts", **options())
    parts = train("parts", **options())
    scores = [row["val/knn_accuracy"] for row in whole.rows if row["epoch"] > 0]
    assert (whole.best_score, whole.best_epoch) == (max(scores), scores.index(max(scores)) + 1)
    assert (parts.best_score, parts.best_epoch) == (whole.best_score, whole.best_epoch)
    checkpoint = torch.load(parts.best, weights_only=True)
    assert checkpoint["epoch"] + 1 == parts.best_epoch
    weights = parts.load_best().state_dict()
    assert all(torch.equal(weights[key], checkpoint["state_dict"][key]) for key in weights)


def test_a_loss_is_minimized(train, bundle, mild):
    callbacks = [ValidationLoss(bundle.val, mild, interval=1)]
    result = train(callbacks=callbacks, monitor="val/loss", images=bundle.train)
    assert result.best_score == min(row["val/loss"] for row in result.rows)


def test_features_are_extracted_once_for_all(train, clean, monkeypatch):
    calls = []
    extract = CleanFeatures._extract
    monkeypatch.setattr(
        CleanFeatures, "_extract", lambda *args: (calls.append(args[-1]), extract(*args))[1]
    )
    train(callbacks=[KNNEvaluation(clean, 10), LinearEvaluation(clean, 10, num_epochs=1)], epochs=2)
    assert calls == 2 * ["features of train", "features of val"]  # untrained, and at the end


def test_images_without_label_are_left_out(bundle):
    targets = bundle.train.targets.copy()
    targets[::2] = -1
    images = ImageArray(bundle.train.images, targets, bundle.train.names)
    options = {"split": "val", "mean": bundle.mean, "std": bundle.std}
    assert (CleanFeatures(images, bundle.val, **options).train.targets >= 0).all()
    nothing = ImageArray(images.images, np.full(len(images), -1), images.names)
    with pytest.raises(UserError, match="the val images have no labels"):
        CleanFeatures(images, nothing, **options)


def plan_evaluation(bundle, augment, **options):
    return EvaluationPlan(**options).on(bundle, augment)


def kinds(evaluation):
    return [type(callback).__name__ for callback in evaluation.callbacks]


def test_plan_with_validation_split(bundle, mild):
    plan = plan_evaluation(bundle, augment=mild, linear={})
    assert kinds(plan) == ["ValidationLoss", "KNNEvaluation", "LinearEvaluation"]
    assert plan.monitor == "val/knn_accuracy"
    assert plan.callbacks[1].features is plan.callbacks[2].features


def test_plan_never_chooses_on_the_test_set(bundle, mild, replace, caplog):
    plan = plan_evaluation(replace(bundle, val=None), augment=mild, linear={})
    assert kinds(plan) == ["KNNEvaluation", "LinearEvaluation"]
    assert plan.callbacks[0].features.split == "test"
    assert plan.monitor is None


def test_plan_and_training_without_labels(bundle, mild, replace, few, train):
    unlabeled = replace(bundle, train=few, val=few, test=few)
    plan = plan_evaluation(unlabeled, augment=mild, interval=1, linear={})
    assert kinds(plan) == ["ValidationLoss"]
    assert plan.monitor == "val/loss"
    result = train(callbacks=plan.callbacks, monitor=plan.monitor)
    assert result.best_epoch in (1, 2, 3)


@pytest.mark.parametrize(
    "monitor", ["val/loss", "val/knn_accuracy", "val/linear_accuracy", "val/contrastive_top1"]
)
def test_plan_with_a_monitor_of_choice(bundle, mild, monitor):
    plan = plan_evaluation(bundle, augment=mild, linear={}, monitor=monitor)
    assert plan.monitor == monitor


def test_plan_that_chooses_the_last_epoch(bundle, mild):
    assert plan_evaluation(bundle, augment=mild, monitor="none").monitor is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"monitor": "val/acc"}, "choose one of auto, none, val/knn_accuracy, val/loss"),
        ({"monitor": "val/linear_accuracy"}, "monitor='val/linear_accuracy': choose one of"),
        ({"monitor": "val/knn_accuracy", "k": 0}, "choose one of auto, none, val/loss"),
        ({"monitor": "test/knn_accuracy"}, "the test set chooses nothing"),
    ],
)
def test_monitor_that_is_not_measured(bundle, mild, options, message):
    with pytest.raises((ValueError, UserError), match=message):
        plan_evaluation(bundle, augment=mild, **options)


def test_monitor_without_validation_split(bundle, mild, replace):
    with pytest.raises(UserError, match="no validation split; set one apart"):
        plan_evaluation(replace(bundle, val=None), augment=mild, monitor="val/loss")


class Best(L.Callback):
    """Notes the epoch in best.ckpt at the start of every epoch, which is the end of another."""

    def __init__(self, folder):
        self.file = folder / "checkpoints/best.ckpt"
        self.epochs = []

    def on_train_epoch_start(self, trainer, pl_module):
        if self.file.exists():
            self.epochs.append(torch.load(self.file, weights_only=True)["epoch"] + 1)


def test_best_is_written_whenever_the_validation_loss_improves(train, bundle, tmp_path):
    """With strong views for the training and mild ones for the validation."""
    recipe = {"size": 8, "mean": bundle.mean, "std": bundle.std}
    mild = RECIPES.build("mild", **recipe)
    plan = plan_evaluation(bundle, augment=mild, interval=1, monitor="val/loss", k=0)
    best = Best(tmp_path / "run")
    result = train(monitor=plan.monitor, callbacks=[*plan.callbacks, best], epochs=5)
    scores = [row["val/loss"] for row in result.rows if row["epoch"] > 0]
    expected = [1 + scores.index(min(scores[:n])) for n in range(1, 5)]
    assert best.epochs == expected
    assert result.best_score == min(scores)
    assert len(set(scores)) == 5


class Wrong(L.Callback):
    """Logs a validation loss that is not a number, but for the second epoch."""

    def on_train_epoch_end(self, trainer, pl_module):
        pl_module.log("val/loss", 1.0 if trainer.current_epoch == 1 else float("nan"))


def test_not_a_number_is_never_the_best(train):
    result = train(callbacks=[Wrong()], monitor="val/loss")
    assert (result.best_epoch, result.best_score) == (2, 1.0)


def test_validation_views_must_differ(bundle):
    recipe = {"size": 8, "mean": bundle.mean, "std": bundle.std}
    equal = RECIPES.build("none", **recipe, num_views=2)
    with pytest.raises(UserError, match="the views of the validation loss are all alike"):
        plan_evaluation(bundle, augment=equal)
    for name in ("mild", "simclr", "byol", "digits"):
        plan_evaluation(bundle, augment=RECIPES.build(name, **recipe))


def test_validation_has_as_many_views_as_the_method_takes(train, bundle):
    recipe = {"size": 8, "mean": bundle.mean, "std": bundle.std}
    loss = ValidationLoss(bundle.val, RECIPES.build("none", **recipe))
    with pytest.raises(UserError, match="makes 1 views"):
        train(callbacks=[loss], epochs=1)


def test_out_of_memory_in_an_evaluation(train, clean, monkeypatch):
    def full(*args, **kwargs):
        raise torch.OutOfMemoryError

    monkeypatch.setattr("dal_toolbox.ssl.callbacks.features.extract_features", full)
    with pytest.raises(UserError, match="predict_batch_size=512: .* lower it to 256"):
        train(callbacks=[KNNEvaluation(clean, 10)])


@pytest.fixture
def replace():
    from dataclasses import replace

    return replace


def test_projection_std():
    on_sphere = torch.randn(4000, 16, generator=torch.Generator().manual_seed(0))
    assert float(projection_std(on_sphere)) == pytest.approx(1, abs=0.02)
    assert float(projection_std(torch.ones(64, 16))) == 0


def test_collapse_warns_once(train, build, caplog):
    method = build()
    for parameter in method.projector.parameters():
        parameter.data.fill_(0.1)
        parameter.requires_grad_(False)
    train(method=method, callbacks=[CollapseMonitor(patience=1)], epochs=4)
    assert caplog.text.count("nearly collapsed") == 1


def test_shares_of_time(train):
    for row in train().rows:
        assert row["seconds"] > 0
        assert row["images_per_second"] == pytest.approx(64 / row["seconds"])
        assert 0 < row["augmentation"] < 1
        assert 0 < row["data_wait"] < 1
        assert row["augmentation"] + row["data_wait"] < 1


class Watched(L.Callback):
    """Reads the progress bar after every batch and every epoch."""

    def __init__(self):
        self.seen = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        report = next(part for part in trainer.callbacks if isinstance(part, Report))
        if hasattr(report, "_bar"):
            task = report._bar.tasks[report._task]
            self.seen.append((task.description, task.completed, task.total))


def test_the_bar_counts_epochs_as_its_title_says(train, interrupted):
    interrupted(1)
    watched = Watched()
    train(callbacks=[watched])  # called before the bar moves: two batches an epoch
    assert {title for title, _, _ in watched.seen} == {"pretraining, epochs"}
    assert [done for _, done, _ in watched.seen] == [1, 1.5, 2, 2.5]
    assert {total for _, _, total in watched.seen} == {3}


def test_without_labels_and_without_splits_nothing_is_measured(bundle, mild, few, replace, train):
    alone = replace(bundle, train=few, val=None, test=None)
    plan = plan_evaluation(alone, augment=mild, linear={})
    assert (plan.callbacks, plan.monitor, plan.labels_used) == ([], None, None)
    assert train(callbacks=plan.callbacks, monitor=plan.monitor).best_epoch == 3
    with pytest.raises(UserError, match="no validation split; set one apart"):
        plan_evaluation(alone, augment=mild, monitor="val/loss")


def test_labels_without_test_split_are_no_evaluation(bundle, mild, replace):
    assert plan_evaluation(replace(bundle, val=None, test=None), augment=mild).callbacks == []


@pytest.mark.parametrize(
    "monitor, labels_used",
    [
        ("auto", "k-NN accuracy on the labels of 1,150 training and 288 validation images"),
        ("val/knn_accuracy", "k-NN accuracy on the labels of 1,150 training and 288 validation images"),
        ("val/linear_accuracy", "linear accuracy on the labels of 1,150 training and 288 validation images"),
        ("val/loss", None),
        ("val/contrastive_top1", None),
        ("none", None),
    ],
)  # fmt: skip
def test_labels_that_choose_a_checkpoint_are_counted(bundle, mild, monitor, labels_used):
    plan = plan_evaluation(bundle, augment=mild, linear={}, monitor=monitor)
    assert plan.labels_used == labels_used


class Diverging:
    """A classifier whose training fails."""

    def __init__(self, num_classes, *, base_lr=0.1):
        pass

    def fit(self, features, labels):
        raise ValueError("base_lr=0.1: the training diverged")


def test_a_linear_evaluation_that_fails_is_left_out(train, clean, monkeypatch, caplog):
    monkeypatch.setitem(CLASSIFIERS._factories, "diverging", Diverging)
    evaluation = LinearEvaluation(clean, 10, classifier="diverging", interval=2)
    rows = train(callbacks=[evaluation]).rows
    assert len(rows) == 3
    assert not any("val/linear_accuracy" in row for row in rows)
    assert "epoch 2: no linear evaluation: base_lr=0.1: the training diverged" in caplog.text
