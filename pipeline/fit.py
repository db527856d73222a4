"""Whether a space's networks can take its data, told before anything is trained."""

from dataclasses import replace

from models.build import check_fit
from models.config import FieldError
from pipeline.config import SpaceConfig, input_spec
from pipeline.data import Dataset
from pipeline.errors import SettingError

_SEARCHED = "model.architecture"


def require_fit(space: SpaceConfig, dataset: Dataset) -> None:
    """Make sure that the network, and each that is searched, can take the data's images.

    Raises:
        SettingError: One cannot.
    """
    wanted = {"model.architecture": space.model}
    searched = space.search.parameters.get(_SEARCHED)
    for index, value in enumerate((searched and searched.values) or ()):
        place = f"search.parameters.{_SEARCHED}.values.{index}"
        wanted[place] = replace(space.model, architecture=value)  # type: ignore[arg-type]
    for place, model in wanted.items():
        try:
            check_fit(model, input_spec(dataset))
        except FieldError as error:
            raise SettingError(place, str(error)) from error
