"""Datasets that collect jobs write. They can be read as NumPy, tf.data, Ray Data, RLlib and Minari."""

from distpolicy.utils.lazy_names import lazy_names

_MODULES = {
    "DatasetManifest": "workers.datasets.manifest",
    "export_minari": "workers.datasets.minari",
    "import_minari": "workers.datasets.imports",
    "import_rllib": "workers.datasets.imports",
    "read_episodes": "workers.datasets.reader",
    "read_ray_dataset": "workers.datasets.views",
    "read_rollouts": "workers.datasets.reader",
    "read_steps": "workers.datasets.reader",
    "read_tf_dataset": "workers.datasets.views",
    "rllib_offline_data": "workers.datasets.views",
    "verify": "workers.datasets.manifest",
}

__all__ = sorted(_MODULES)

__getattr__ = lazy_names(__name__, _MODULES)
