"""How a metric is read: in percent or as it is, and whether less of it is better."""

from dataclasses import dataclass

LESS_IS_BETTER = ("nll", "brier", "ece", "loss", "error")
SHARES = ("accuracy", "top1", "top5")


@dataclass(frozen=True)
class Scale:
    """Attributes:
    factor: From the metric to what is shown.
    unit: Unit of what is shown, with a blank in front; empty where there is none.
    digits: Decimals that are shown.
    sign: 1 where more is better, −1 where less is.
    """

    factor: float
    unit: str
    digits: int
    sign: int

    def text(self, value: float, digits: int = 0) -> str:
        """A value as it is shown, with ``digits`` more decimals than usual."""
        return f"{self.factor * value:.{self.digits + digits}f}"

    def signed(self, value: float, digits: int = 0) -> str:
        """A difference as it is shown."""
        return f"{self.factor * value:+.{self.digits + digits}f}"


def scale_of(metric: str) -> Scale:
    """The scale of a metric, by its name.

    >>> scale_of("macro_accuracy").text(0.9876), scale_of("nll").sign
    ('98.8', -1)
    """
    if metric.endswith(SHARES):
        return Scale(factor=100, unit=" %", digits=1, sign=1)
    return Scale(factor=1, unit="", digits=3, sign=-1 if metric.endswith(LESS_IS_BETTER) else 1)
