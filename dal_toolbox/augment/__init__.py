"""Augmentation of whole batches, on their device."""

from dal_toolbox.augment.batch import BatchAugment as BatchAugment
from dal_toolbox.augment.evaluation import EvalTransform as EvalTransform
from dal_toolbox.augment.recipes import RECIPES as RECIPES
from dal_toolbox.augment.view import View as View

__all__ = ["RECIPES", "BatchAugment", "EvalTransform", "View"]
