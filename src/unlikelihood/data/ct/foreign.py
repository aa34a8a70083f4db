"""What lies in a study beside its scans: localizers, reformats, dose reports, secondary captures and the like."""

from typing import Any

from unlikelihood.storage.reading import printable

CT_IMAGES = "1.2.840.10008.5.1.4.1.1.2"  # the storage class, and with more digits those of enhanced CT
LOCALIZERS = ("LOCALIZER", "SCOUT", "SURVIEW", "REF_SURVIEW", "TOPOGRAM")
REFORMATS = ("REFORMATTED", "MPR", "CSA MPR", "CPR", "CURVED", "MIP", "MINIP", "MIN IP", "AIP", "PROJECTION IMAGE")
RENDERED = ("VRT", "SSD", "VOLUME RENDERING", "SCREEN SAVE", "DOSE_INFO", "PATIENT_INFO", "RESULTS", "FUSION")


def foreign_reason(data: Any) -> str:
    """Return why a DICOM object is no slice of a CT scan, an empty text if it may be one."""
    return printable(next(filter(None, (reason(data) for reason in REASONS)), ""))


def _other_class(data: Any) -> str:
    kind = data.get("SOPClassUID") or getattr(data, "file_meta", {}).get("MediaStorageSOPClassUID")
    if kind and kind.is_valid and not f"{kind}.".startswith(f"{CT_IMAGES}."):  # else damaged, as reading may say
        return str(kind.name)
    return "" if kind or data.get("Modality") else "of no storage class"


def _other_modality(data: Any) -> str:
    modality = data.get("Modality") or "CT"
    return "" if modality == "CT" else f"modality {modality}"


def _image_type(data: Any) -> str:
    words = _words(data)
    kinds = {"localizer": LOCALIZERS, "reformat": REFORMATS, "rendered image": RENDERED}
    return next((kind for kind, names in kinds.items() if words.intersection(names)), "")


def _words(data: Any) -> set[str]:
    words = data.get("ImageType") or ()
    return {str(word).strip().upper() for word in ([words] if isinstance(words, str) else words)}


def _colour(data: Any) -> str:
    kind = data.get("PhotometricInterpretation") or "MONOCHROME2"
    return "" if kind.startswith("MONOCHROME") else f"colour image ({kind})"


def _derived(data: Any) -> str:
    derived = {"DERIVED", "SECONDARY"} & _words(data)
    places = data.get("ImagePositionPatient"), data.get("ImageOrientationPatient")
    return "derived image without a position" if derived and None in places else ""


REASONS = (_other_class, _other_modality, _image_type, _colour, _derived)
