"""How a run is put together: configuration, trainer, checkpoints, command line.

The names of the Python API are loaded when they are first used: a command that only shows its help needs no Ray.
"""

from distpolicy.utils.lazy_names import lazy_names

_MODULES = {
    "CollectConfig": "launch.config.collect",
    "CollectionRun": "launch.collection.run",
    "MlflowTracker": "launch.training.trackers",
    "ObservedRun": "launch.training.observer",
    "RunEnd": "launch.training.observer",
    "TrainConfig": "launch.config.train",
    "TrainingObserver": "launch.training.observer",
    "TrainingRun": "launch.training.run",
    "TuneConfig": "launch.config.tune",
    "TuningObserver": "launch.tuning.observer",
    "TuningRun": "launch.tuning.run",
    "UpdateResult": "launch.training.totals",
    "WandbTracker": "launch.training.trackers",
}

__all__ = sorted(_MODULES)

__getattr__ = lazy_names(__name__, _MODULES)
