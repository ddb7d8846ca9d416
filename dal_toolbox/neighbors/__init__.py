"""Search, k-means and graphs on features."""

from dal_toolbox.neighbors._leading import center_finder as center_finder
from dal_toolbox.neighbors._nearest import nearest_center as nearest_center
from dal_toolbox.neighbors._nearest import squared_distances as squared_distances
from dal_toolbox.neighbors._sides import NotFinite as NotFinite
from dal_toolbox.neighbors._sides import plain_float32 as plain_float32
from dal_toolbox.neighbors._unit import unit_norm as unit_norm
from dal_toolbox.neighbors.graph import CSR as CSR
from dal_toolbox.neighbors.graph import KNNGraph as KNNGraph
from dal_toolbox.neighbors.graph import knn_graph as knn_graph
from dal_toolbox.neighbors.graph import radius_graph as radius_graph
from dal_toolbox.neighbors.kmeans import KMeans as KMeans
from dal_toolbox.neighbors.kmeans import kmeans as kmeans
from dal_toolbox.neighbors.search import Neighbors as Neighbors
from dal_toolbox.neighbors.search import NotEnoughItems as NotEnoughItems
from dal_toolbox.neighbors.search import knn as knn

__all__ = [
    "CSR",
    "KMeans",
    "KNNGraph",
    "Neighbors",
    "NotEnoughItems",
    "NotFinite",
    "center_finder",
    "kmeans",
    "knn",
    "knn_graph",
    "nearest_center",
    "plain_float32",
    "radius_graph",
    "squared_distances",
    "unit_norm",
]
