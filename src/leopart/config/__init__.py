"""What the commands are asked to do: one frozen dataclass each, a docstring per field, checked there.

The docstrings are the commands' help texts. A resolved configuration is written beside the output, and
`--config` takes that file back.
"""

from leopart.config.evaluate import (
    TASKS,
    AttentionConfig,
    BoundaryConfig,
    ClassesConfig,
    CompareConfig,
    EvaluateConfig,
    FCNConfig,
    ForegroundConfig,
    HeadConfig,
    InContextConfig,
    LinearConfig,
    OverclusteringConfig,
    TrainedConfig,
    UnsupervisedConfig,
)
from leopart.config.export import ExportConfig
from leopart.config.figure import (
    FIGURES,
    CBFEFigureConfig,
    CommunitiesFigureConfig,
    CropsFigureConfig,
    FigureConfig,
    LabelsFigureConfig,
    MosaicConfig,
    OverclusteringFigureConfig,
    OverlayConfig,
    PageConfig,
    PartsFigureConfig,
    SegmentedConfig,
    TrainingFigureConfig,
)
from leopart.config.label import LabelConfig
from leopart.config.reproduce import REPRODUCED, ReproduceConfig
from leopart.config.segment import DemoConfig, FitConfig, PredictConfig, RunConfig, SegmentConfig
from leopart.config.train import TrainConfig
from leopart.config.view import ViewConfig

__all__ = [
    "FIGURES",
    "REPRODUCED",
    "TASKS",
    "AttentionConfig",
    "BoundaryConfig",
    "CBFEFigureConfig",
    "ClassesConfig",
    "CommunitiesFigureConfig",
    "CompareConfig",
    "CropsFigureConfig",
    "DemoConfig",
    "EvaluateConfig",
    "ExportConfig",
    "FCNConfig",
    "FigureConfig",
    "FitConfig",
    "ForegroundConfig",
    "HeadConfig",
    "InContextConfig",
    "LabelConfig",
    "LabelsFigureConfig",
    "LinearConfig",
    "MosaicConfig",
    "OverclusteringConfig",
    "OverclusteringFigureConfig",
    "OverlayConfig",
    "PageConfig",
    "PartsFigureConfig",
    "PredictConfig",
    "ReproduceConfig",
    "RunConfig",
    "SegmentConfig",
    "SegmentedConfig",
    "TrainConfig",
    "TrainedConfig",
    "TrainingFigureConfig",
    "UnsupervisedConfig",
    "ViewConfig",
]
