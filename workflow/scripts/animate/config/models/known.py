"""Every generation model by its name; another family is one more module, and a line here."""

from animate.config.models.declared import GenerationModel
from animate.config.models.driven import DRIVEN_MODELS
from animate.config.models.posed import POSED_MODELS

MODELS: dict[str, GenerationModel] = {
    model.name: model for model in (*POSED_MODELS, *DRIVEN_MODELS)
}
# Models that the workflow writes itself, small enough for a CPU, and what their videos are.
SMALL_MODELS = {name: model.notice for name, model in MODELS.items() if model.small}
