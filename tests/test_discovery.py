"""What is there is found, and only that."""

import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest

import unlikelihood
from unlikelihood import Detector, Source
from unlikelihood.evaluation.experiment import Experiment, Series
from unlikelihood.storage import discovery


@pytest.mark.parametrize(("package", "base"), [("detectors", Detector), ("data", Source)])
def test_the_stub_lists_every_detector_and_source(package, base):
    module = importlib.import_module(f"unlikelihood.{package}")
    defined = set()
    for info in pkgutil.walk_packages(module.__path__, f"{module.__name__}."):
        inner = importlib.import_module(info.name)
        defined |= {
            name
            for name, value in vars(inner).items()
            if inspect.isclass(value)
            and issubclass(value, base)
            and value.__module__ == inner.__name__
            and not inspect.isabstract(value)
        }
    assert set(discovery.subclasses(base, package)) == defined


def test_every_name_of_the_stub_can_be_imported():
    for name in unlikelihood.__all__:
        assert getattr(unlikelihood, name).__name__ == name


def test_the_reference_lists_every_public_name():
    reference = Path(__file__).parent.parent / "docs" / "api.rst"
    assert set(unlikelihood.__all__) <= set(reference.read_text(encoding="utf-8").split())


def test_every_recipe_makes_an_experiment_in_both_sizes():
    for name in discovery.recipes():
        for quick in (False, True):
            made = discovery.recipe(name)(quick)
            assert callable(made.run)
            experiments = made.experiments.values() if isinstance(made, Series) else [made]
            for experiment in filter(lambda each: isinstance(each, Experiment), experiments):
                assert set(experiment.references) <= set(experiment.detectors)
                assert len(experiment.seeds) >= (1 if quick else 3)


def test_an_unknown_name_is_refused():
    for name in ("os", "unlikelihood.VAE", "evaluate"):
        with pytest.raises(ValueError, match=f"'{name}' is not a public class"):
            discovery.public_class(name)
    with pytest.raises(ValueError, match=r"'nope' is not one of the recipes: .*mnist-vae"):
        discovery.recipe("nope")
