"""What the sources of CT scans in a folder share: the files, the grid that they are resampled to, and the window."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unlikelihood.data.ct.cropping import Cropped, Grid, Request, crop_scans, gather
from unlikelihood.data.ct.hounsfield import AIR, HU, LUNG_WINDOW
from unlikelihood.data.ct.scan import WORLD
from unlikelihood.data.ct.scan_files import Survey, survey
from unlikelihood.data.images import Images, windowed
from unlikelihood.data.labelled_folder import LabelledFolder
from unlikelihood.data.source import cache, existing
from unlikelihood.parameters import Count, Positive, check_parameters


@dataclass(frozen=True, kw_only=True)
class CTFolder(LabelledFolder):
    """Volumes out of the CT scans in a folder: .mha, .mhd, .nii, .nii.gz, .nrrd files and DICOM series.

    Each is resampled once, from its scan's own grid to voxels of one size along the world axes z, y and x ("SPL"),
    whatever the direction of the scan; see `Scan.crop`. It is kept in HU in the cache, rounded to 1 HU where the scan
    holds integers, so the window may change at no cost. A file whose content changes is resampled again, and a run that
    was killed goes on where it was.

    Further parameters are those of `LabelledFolder`.

    Parameters
    ----------
    path : str or Path
        The folder, or the file of one scan.
    spacing : float
        Size of the voxels in mm.
    outside : float
        Intensity in HU of what lies outside the scan; -1000 is air.
    window : tuple of float, optional
        The intensities in HU that become 0 and 1, what lies outside is clipped; up to 256 MiB are then held in memory.
        None keeps HU, in a memory map.
    resample : bool
        Put slices that are missing, uneven or displaced by a gantry tilt on an even grid, where otherwise such a
        scan cannot be read. This is a second interpolation.
    intercept : float, optional
        What is to be added to the values of image files, all of them, to make them HU, such as -1024; see `Scan.read`.
        Unless given, files that seem to need it are refused; 0 takes them as they are. DICOM has its own.
    cache : str or Path, optional
        Folder of what is resampled; "crops" in `$UNLIKELIHOOD_CACHE` or `~/.cache/unlikelihood` unless given.
    jobs : int, optional
        Number of processes, each of which holds one scan; one a core unless given.
    """

    spacing: Positive = 1.0
    outside: HU = AIR
    window: tuple[float, float] | None = LUNG_WINDOW
    resample: bool = False
    intercept: HU | None = None
    cache: str | Path | None = None
    jobs: Count | None = None

    @property
    def crops_folder(self) -> Path:
        """Where crops are kept."""
        return cache() / "crops" if self.cache is None else Path(self.cache).expanduser()

    def grid(self, size: tuple[float, float, float] | None) -> Grid:
        """Check all parameters, and return the grid of crops of `size` mm along z, y and x (None: whole scans)."""
        check_parameters(self)
        if self.window is not None:
            windowed(np.empty(0), self.window)
        grid = Grid(size, self.spacing, self.outside, self.resample, self.intercept)
        if size is not None:
            grid.shape(())
        return grid

    def contents(self) -> list[tuple[str, str, int, str]]:
        """Read all, and say of each series what it is, a scan, refused and why, or foreign; see `Survey.contents`."""
        return self.survey(existing("path", self.path)).contents(resample=self.resample, intercept=self.intercept)

    def survey(self, path: Path) -> Survey:
        """Return what is in a folder."""
        return survey(path, self.crops_folder)

    def crop(self, requests: list[Request], grid: Grid) -> list[Cropped]:
        """Crop the scans that are not in the cache yet, and return all."""
        return crop_scans(requests, grid, self.crops_folder, self.jobs)

    def images(
        self,
        cropped: list[Cropped],
        rows: list[list[int]],
        label: list[int | None],
        group: list[str],
        name: list[str],
        left_out: Mapping[str, int],
        unread: Mapping[str, str],
    ) -> Images:
        """Return what was cropped; `rows` are the places of each scan's crops, `left_out` counts what was not.

        `unread` has the reason, by name, where that is known.
        """
        centre = np.empty((sum(map(len, rows)), 3))
        for one, at in zip(cropped, rows, strict=True):
            centre[list(at)] = one.centres
        return Images(
            pixels=gather(cropped, rows, self.window, self.crops_folder),
            label=None if None in label else np.array(label),
            group=np.array(group),
            spacing=(self.spacing,) * 3,
            orientation=WORLD,
            name=np.array(name),
            centre=centre,
            layout="CT scans, as HU"
            if self.window is None
            else f"CT scans, HU {self.window[0]:g} to {self.window[1]:g}",
            left_out=left_out,
            unread=unread,
        )
