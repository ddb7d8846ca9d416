"""Linear evaluation during pretraining."""

import lightning as L

from dal_toolbox.arguments import at_least
from dal_toolbox.classifiers import CLASSIFIERS, Classifier
from dal_toolbox.metrics import accuracy
from dal_toolbox.progress import log
from dal_toolbox.ssl.callbacks.features import CleanFeatures, is_due


class LinearEvaluation(L.Callback):
    """Accuracy of a linear classifier on frozen features of clean images.

    Logged as ``val/linear_accuracy`` or ``test/linear_accuracy``, after the split of ``features``,
    and ``train/linear_accuracy``, every ``interval`` epochs and at the end. An evaluation that fails is
    left out with a warning.

    Args:
        features: Features and labels of the images.
        num_classes: Number of classes.
        interval: Epochs between two evaluations.
        classifier: Name of the classifier.
        options: Hyperparameters of the classifier, such as ``num_epochs`` and ``base_lr``.

    Raises:
        ValueError: A number is out of its range.
        UnknownName: There is no such classifier.
    """

    def __init__(
        self,
        features: CleanFeatures,
        num_classes: int,
        *,
        interval: int = 50,
        classifier: str = "linear_sgd",
        **options: object,
    ) -> None:
        at_least(1, num_classes=num_classes, interval=interval)
        self.features = features
        self.num_classes = num_classes
        self.interval = interval
        self.classifier = classifier
        self.options = options
        self._build()  # refuses options before the training

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Evaluates, when it is due."""
        if not is_due(trainer, self.interval):
            return
        now = self.features.of(trainer, pl_module)
        try:
            model = self._build().fit(now.train, now.train_labels)
        except ValueError as error:  # it diverged: no reason to lose the pretraining
            log.warning("epoch %d: no linear evaluation: %s", trainer.current_epoch + 1, error)
            return
        for split, x, y in (
            ("train", now.train, now.train_labels),
            (self.features.split, now.test, now.test_labels),
        ):
            pl_module.log(f"{split}/linear_accuracy", float(accuracy(model.logits(x), y)))

    def _build(self) -> Classifier:
        return CLASSIFIERS.build(self.classifier, num_classes=self.num_classes, **self.options)
