"""Hounsfield units (HU), in which CT measures: water is 0, air -1000."""

from typing import Annotated

from unlikelihood.parameters import Range

HU = Annotated[float, Range(-(2**15), 2**15 - 1)]  # what int16 holds
AIR = -1000.0
LUNG_WINDOW = (-1000.0, 400.0)
