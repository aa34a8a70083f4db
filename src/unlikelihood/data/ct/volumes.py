"""Whole CT volumes in a folder."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unlikelihood.data.ct.cuts import HU, Box, Order, cut, gather, kept_in, scans
from unlikelihood.data.ct.find import Found
from unlikelihood.data.ct.formats import AIR, FORMATS
from unlikelihood.data.folder import Entry, tabled
from unlikelihood.data.images import Images
from unlikelihood.data.source import Source, existing
from unlikelihood.data.splits import Split
from unlikelihood.data.splits import cut as cut_parts
from unlikelihood.parameters import Count, Positive, check_parameters


@dataclass(frozen=True, kw_only=True)
class Volumes(Source):
    """Whole CT volumes in a folder, labelled by its sub-folders or by a table, or not at all.

    Volumes are .mha, .mhd, .nii, .nii.gz, .nrrd files and DICOM series, in any sub-folder. They are resampled once,
    to voxels of one size along the world axes z, y and x, whatever their own grid; see `Scan.cut`. What was resampled
    is kept in HU in the cache, so the window may change at no cost; paths, sizes and times of change stand for the
    content of the files, and a run that was killed goes on where it was.

    Without a table, the sub-folders `normal` and `anomalous` are read, with all folders in them; other sub-folders
    are not. If there are none of them, all volumes in the folder are read, unlabelled.

    Parameters
    ----------
    path : str or Path
        The folder, or the file of one volume.
    normal : str
        Name of the sub-folder of normals.
    anomalous : str
        Name of the sub-folder of anomalies.
    table : str or Path, optional
        CSV file with the columns file (a file or the folder of a DICOM series, relative to `path`, or a series
        instance UID), label (0 or 1, or the names of the sub-folders) and, if patients must not be split, group. Only
        the volumes in it are read, in its order.
    shape : tuple of float, optional
        Size along z, y and x in mm that all volumes are cropped or padded to, about their middle. Unless given, they
        must have one size already.
    spacing : float
        Size of the voxels in mm.
    outside : float
        Intensity in HU of what lies outside the scan; -1000 is air.
    window : tuple of float, optional
        The intensities in HU that become 0 and 1, what lies outside is clipped; all volumes are then held in memory.
        None keeps HU, in a memory map.
    resample : bool
        Put slices that are missing, uneven or displaced by a gantry tilt on an even grid, where otherwise such a
        scan is an error. This is a second interpolation.
    skip_unreadable : bool
        Leave out volumes that cannot be read, with one warning that counts and names them, where otherwise they are
        an error.
    cache : str or Path, optional
        Folder of the resampled volumes; "cuts" in `$UNLIKELIHOOD_CACHE` or `~/.cache/unlikelihood` unless given.
    jobs : int, optional
        Number of processes, each of which holds one scan; one a core unless given.
    fractions : tuple of float
        Parts of the normals for train, calibration and test; they sum to 1.
    balanced : bool
        Leave images out of the test, at random, until it holds as many normals as anomalies.
    seed : int
        Seed of the cut into parts.
    """

    path: str | Path
    normal: str = "normal"
    anomalous: str = "anomalous"
    table: str | Path | None = None
    shape: tuple[float, float, float] | None = None
    spacing: Positive = 1.0
    outside: HU = AIR
    window: tuple[float, float] | None = (-1000.0, 400.0)
    resample: bool = False
    skip_unreadable: bool = False
    cache: str | Path | None = None
    jobs: Count | None = None
    fractions: tuple[float, float, float] = (0.6, 0.2, 0.2)
    balanced: bool = False

    def read(self) -> Images:
        """Resample the volumes that are not in the cache yet, and read all.

        Returns
        -------
        Images
            Volumes (1, D, H, W) in the order of their paths or of the table, named by their paths in the folder;
            groups are those of the table, else the patient IDs of DICOM series, else each volume is a group.

        Raises
        ------
        ValueError
            If there are no volumes, the table is wrong, a volume cannot be read or is of another size than the first.
        """
        check_parameters(self)
        path = existing("path", self.path)
        box = Box(self.shape, self.spacing, self.outside, self.resample)
        folder = kept_in(self.cache)
        if self.shape is not None:
            box.shape(())
        entries = self._entries(path, folder)
        cuts = cut([Order(scan) for _, scan in entries], box, folder, self.jobs)
        failures = [one.damage for one in cuts if one.damage]
        reasons = "\n".join(failures)
        if failures and (not self.skip_unreadable or len(failures) == len(cuts)):
            raise ValueError(f"{len(failures)} of {len(cuts)} volumes cannot be read\n{reasons}")
        if failures:
            warnings.warn(f"{len(failures)} of {len(cuts)} volumes skipped\n{reasons}", stacklevel=2)
        kept = [(entry, one) for (entry, _), one in zip(entries, cuts, strict=True) if not one.damage]
        first, like = kept[0]
        for entry, one in kept:
            if one.shape != like.shape:
                raise ValueError(
                    f"shape=None: {entry.file} has {one.shape} voxels of {self.spacing:g} mm, {first.file} "
                    f"{like.shape}; expected one size, or the shape in mm that all are cropped or padded to"
                )
        label = [entry.label for entry, _ in kept]
        return Images(
            pixels=gather([one for _, one in kept], [[i] for i in range(len(kept))], self.window, folder),
            label=None if None in label else np.array(label),
            group=np.array([entry.group or one.patient or entry.file for entry, one in kept]),
            spacing=(self.spacing,) * 3,
            name=np.array([entry.file for entry, _ in kept]),
        )

    def split(self) -> Split:
        """Read the volumes and cut them at random, never through a patient.

        Returns
        -------
        Split
            The parts; the same for the same seed.
        """
        return cut_parts(self.read(), fractions=self.fractions, seed=self.seed, balanced=self.balanced)

    def _entries(self, path: Path, folder: Path) -> list[tuple[Entry, Found]]:
        if self.table is not None:
            known = {name: one for one in scans(path, folder) for name in (one.series, one.name)}
            entries = list(tabled(existing("table", self.table), self.normal, self.anomalous))
            if missing := [entry.file for entry in entries if entry.file not in known]:
                raise ValueError(f"table={str(self.table)!r}: file={missing[0]!r} is no volume in {path}")
            return [(entry, known[entry.file]) for entry in entries]
        classes = [path / self.normal, path / self.anomalous]
        if any(place.is_dir() for place in classes):
            found = [
                (Entry(f"{place.name}/{one.name}", label), one)
                for label, place in enumerate(classes)
                if place.is_dir()
                for one in scans(place, folder)
            ]
        else:
            found = [(Entry(one.name), one) for one in scans(path, folder)]
        if not found:
            raise ValueError(f"path={str(self.path)!r} holds no {', '.join(FORMATS)} files and no DICOM series of CT")
        return found
