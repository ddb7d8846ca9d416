"""Self-supervised pretraining of encoders."""

from dal_toolbox.ssl.base import SSL_METHODS, SSLMethod
from dal_toolbox.ssl.optimization import Optimization

__all__ = ["SSL_METHODS", "Optimization", "SSLMethod"]
