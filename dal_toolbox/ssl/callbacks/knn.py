"""k-nearest-neighbor evaluation during pretraining."""

import lightning as L

from dal_toolbox.arguments import at_least, positive
from dal_toolbox.classifiers import CLASSIFIERS
from dal_toolbox.metrics import accuracy
from dal_toolbox.ssl.callbacks.features import CleanFeatures, is_due


class KNNEvaluation(L.Callback):
    """Accuracy of weighted k-nearest neighbors on clean images, without any training.

    Cosine similarity s, votes weighted by exp(s / temperature) (Wu et al., 2018,
    https://arxiv.org/abs/1805.01978). Logged as ``val/knn_accuracy`` or ``test/knn_accuracy``, after
    the split of ``features``, every ``interval`` epochs and at the end.

    Args:
        features: Features and labels of the images.
        num_classes: Number of classes.
        k: Number of neighbors; all training images where there are fewer.
        temperature: Divides the similarities.
        interval: Epochs between two evaluations.

    Raises:
        ValueError: A number is out of its range.
    """

    def __init__(
        self,
        features: CleanFeatures,
        num_classes: int,
        *,
        k: int = 20,
        temperature: float = 0.07,
        interval: int = 25,
    ) -> None:
        at_least(1, num_classes=num_classes, k=k, interval=interval)
        positive(temperature=temperature)
        self.features = features
        self.interval = interval
        self.options = {"num_classes": num_classes, "k": k, "temperature": temperature}

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Evaluates, when it is due."""
        if is_due(trainer, self.interval):
            pl_module.log_dict(self.scores(trainer, pl_module))

    def scores(self, trainer: L.Trainer, pl_module: L.LightningModule) -> dict[str, float]:
        """The accuracy under the present weights, by the name of the metric."""
        now = self.features.of(trainer, pl_module)
        knn = CLASSIFIERS.build("knn", **self.options).fit(now.train, now.train_labels)
        score = float(accuracy(knn.logits(now.test), now.test_labels))
        return {f"{self.features.split}/knn_accuracy": score}
