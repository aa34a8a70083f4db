"""What is published about every set of MedMNIST: classes, shapes, hashes; and which classes are taken for normal."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class MedSet:
    """A set of MedMNIST v2 or MedMNIST+.

    Parameters
    ----------
    classes : tuple of str
        What the labels 0, 1, … stand for, in the words of the authors.
    normal : tuple of int
        The labels that are normal unless a source says otherwise.
    anomalous : tuple of int, optional
        Those that are anomalous; all others unless given.
    md5 : mapping of int to str
        By the number of pixels along an axis, the MD5 of the file.
    axes : int
        2 for images, 3 for volumes.
    channels : int
        1 for grey, 3 for red, green and blue.
    multi_label : bool
        Whether an image has any number of labels, none included, a column each.
    spacing : mapping of int to float
        By that number of pixels, the size of a voxel in mm, where the authors state it or the width of a volume.
    """

    classes: tuple[str, ...]
    normal: tuple[int, ...]
    md5: Mapping[int, str]
    anomalous: tuple[int, ...] | None = None
    axes: int = 2
    channels: int = 1
    multi_label: bool = False
    spacing: Mapping[int, float] = field(default_factory=dict)

    def words(self, labels: Iterable[int]) -> str:
        """Return what labels stand for."""
        return ", ".join(self.classes[label] for label in labels) or "no finding"

    def stored(self, size: int) -> tuple[int, ...]:
        """Return the shape of one image as it is in the file: (H, W), (H, W, 3) or (D, H, W)."""
        return (size,) * self.axes + ((3,) if self.channels == 3 else ())


ORGANS = (
    "bladder",
    "femur-left",
    "femur-right",
    "heart",
    "kidney-left",
    "kidney-right",
    "liver",
    "lung-left",
    "lung-right",
    "pancreas",
    "spleen",
)
# Classes and hashes are those of the package medmnist 3.0.2, for the files of Zenodo's record 10519652.
SETS: dict[str, MedSet] = {
    # Healthy tissue, fat and empty glass, against cancer; debris may be of a tumour, and is left out.
    "pathmnist": MedSet(
        channels=3,
        classes=(
            "adipose",
            "background",
            "debris",
            "lymphocytes",
            "mucus",
            "smooth muscle",
            "normal colon mucosa",
            "cancer-associated stroma",
            "colorectal adenocarcinoma epithelium",
        ),
        normal=(0, 1, 3, 4, 5, 6),
        anomalous=(7, 8),
        md5={
            28: "a8b06965200029087d5bd730944a56c1",
            64: "55aa9c1e0525abe5a6b9d8343a507616",
            128: "ac42d08fb904d92c244187169d1fd1d9",
            224: "2c51a510bcdc9cf8ddb2af93af1eadec",
        },
    ),
    # No finding at all.
    "chestmnist": MedSet(
        classes=(
            "atelectasis",
            "cardiomegaly",
            "effusion",
            "infiltration",
            "mass",
            "nodule",
            "pneumonia",
            "pneumothorax",
            "consolidation",
            "edema",
            "emphysema",
            "fibrosis",
            "pleural",
            "hernia",
        ),
        normal=(),
        multi_label=True,
        md5={
            28: "02c8a6516a18b556561a56cbdd36c4a8",
            64: "9de6cd0b934ebb5b7426cfba5efbae16",
            128: "db107e5590b27930b62dbaf558aebee3",
            224: "45bd33e6f06c3e8cdb481c74a89152aa",
        },
    ),
    # Nevi, as others take them; some of the other lesions are benign too.
    "dermamnist": MedSet(
        channels=3,
        classes=(
            "actinic keratoses or intraepithelial carcinoma",
            "basal cell carcinoma",
            "benign keratosis-like lesions",
            "dermatofibroma",
            "melanoma",
            "melanocytic nevi",
            "vascular lesions",
        ),
        normal=(5,),
        md5={
            28: "0744692d530f8e62ec473284d019b0c7",
            64: "b70a2f5635c6199aeaa28c31d7202e1f",
            128: "2defd784463fa5243564e855ed717de1",
            224: "8974907d8e169bef5f5b96bc506ae45d",
        },
    ),
    "octmnist": MedSet(
        classes=("choroidal neovascularization", "diabetic macular edema", "drusen", "normal"),
        normal=(3,),
        md5={
            28: "c68d92d5b585d8d81f7112f81e2d0842",
            64: "e229e9440236b774d9f0dfef9d07bdaf",
            128: "0a97e76651ace45c5d943ee3f65b63ae",
            224: "abc493b6d529d5de7569faaef2773ba3",
        },
    ),
    "pneumoniamnist": MedSet(
        classes=("normal", "pneumonia"),
        normal=(0,),
        md5={
            28: "28209eda62fecd6e6a2d98b1501bb15f",
            64: "8f4eceb4ccffa70c672198ea285246c6",
            128: "05b46931834c231683c68f40c47b2971",
            224: "d6a3c71de1b945ea11211b03746c1fe1",
        },
    ),
    # Grade 0, no retinopathy; the anomalies are of grades 1 to 4.
    "retinamnist": MedSet(
        channels=3,
        classes=("grade 0", "grade 1", "grade 2", "grade 3", "grade 4"),
        normal=(0,),
        md5={
            28: "bd4c0672f1bba3e3a89f0e4e876791e4",
            64: "afda852cc34dcda56f86ad2b2457dbcc",
            128: "e48e916a24454daf90583d4e6efb1a18",
            224: "eae7e3b6f3fcbda4ae613ebdcbe35348",
        },
    ),
    # Normal or benign.
    "breastmnist": MedSet(
        classes=("malignant", "normal or benign"),
        normal=(1,),
        md5={
            28: "750601b1f35ba3300ea97c75c52ff8f6",
            64: "742edef2a1fd1524b2efff4bd7ba9364",
            128: "363e4b3f8d712e9b5de15470a2aaadf1",
            224: "b56378a6eefa9fed602bb16d192d4c8b",
        },
    ),
    # No cell here is ill; erythroblasts and immature granulocytes are not in the blood of healthy adults.
    "bloodmnist": MedSet(
        channels=3,
        classes=(
            "basophil",
            "eosinophil",
            "erythroblast",
            "immature granulocytes",
            "lymphocyte",
            "monocyte",
            "neutrophil",
            "platelet",
        ),
        normal=(0, 1, 4, 5, 6, 7),
        md5={
            28: "7053d0359d879ad8a5505303e11de1dc",
            64: "2b94928a2ae4916078ca51e05b6b800b",
            128: "adace1e0ed228fccda1f39692059dd4c",
            224: "b718ff6835fcbdb22ba9eacccd7b2601",
        },
    ),
    # No cell here is ill; leukocytes come from elsewhere.
    "tissuemnist": MedSet(
        classes=(
            "collecting duct or connecting tubule",
            "distal convoluted tubule",
            "glomerular endothelial cells",
            "interstitial endothelial cells",
            "leukocytes",
            "podocytes",
            "proximal tubule segments",
            "thick ascending limb",
        ),
        normal=(0, 1, 2, 3, 5, 6, 7),
        md5={
            28: "ebe78ee8b05294063de985d821c1c34b",
            64: "123ece2eba09d0aa5d698fda57103344",
            128: "61b955355d7425a89687b06cca3ce0c2",
            224: "b077128c4a949f0a4eb01517f9037b9c",
        },
    ),
    # No organ here is ill; the liver is held out.
    "organamnist": MedSet(
        classes=ORGANS,
        normal=(0, 1, 2, 3, 4, 5, 7, 8, 9, 10),
        md5={
            28: "68e3f8846a6bd62f0c9bf841c0d9eacc",
            64: "2dcccc29b88e6da5a01161ef20cda288",
            128: "eeae80d0a227a8d099027e1b3cfd3b60",
            224: "50747347e05c87dd3aaf92c49f9f3170",
        },
    ),
    # As above.
    "organcmnist": MedSet(
        classes=ORGANS,
        normal=(0, 1, 2, 3, 4, 5, 7, 8, 9, 10),
        md5={
            28: "b9ceb9546e10131b32923c5bbeaea2b1",
            64: "3ce34a8724ea6f548e6db4744d03b6a9",
            128: "773c1f009daa3fe5d9a2a201b2a7ed94",
            224: "050f5e875dc056f6768abf94ec9995d1",
        },
    ),
    # As above.
    "organsmnist": MedSet(
        classes=ORGANS,
        normal=(0, 1, 2, 3, 4, 5, 7, 8, 9, 10),
        md5={
            28: "9ab87b696fb54e2a387ebe992d6ed5f1",
            64: "53a6d115339d874c25e309a994ff46d3",
            128: "ded0c5fa01a95dc4978b956f613e9b8e",
            224: "b354719e553fbbb2513d5533f52a4cb1",
        },
    ),
    # As above; its labels are in another order.
    "organmnist3d": MedSet(
        axes=3,
        classes=(
            "liver",
            "kidney-right",
            "kidney-left",
            "femur-right",
            "femur-left",
            "bladder",
            "heart",
            "lung-right",
            "lung-left",
            "spleen",
            "pancreas",
        ),
        normal=(1, 2, 3, 4, 5, 6, 7, 8, 9, 10),
        md5={28: "a0c5a1ff56af4f155c46d46fbb45a2fe", 64: "58a2205adf14a9d0a189cb06dc78bf10"},
    ),
    "nodulemnist3d": MedSet(
        axes=3,
        classes=("benign", "malignant"),
        normal=(0,),
        spacing={28: 1.0},
        md5={28: "8755a7e9e05a4d9ce80a24c3e7a256f3", 64: "c47c5b7d457bf6332200d2ea6d64ecd8"},
    ),
    "adrenalmnist3d": MedSet(
        axes=3,
        classes=("normal", "mass"),
        normal=(0,),
        spacing={28: 64 / 28, 64: 1.0},
        md5={28: "bbd3c5a5576322bc4cdfea780653b1ce", 64: "17721accfe9fb005146a47d33bc54b2f"},
    ),
    # No rib here is whole; the mildest kind is taken for normal.
    "fracturemnist3d": MedSet(
        axes=3,
        classes=("buckle rib fracture", "nondisplaced rib fracture", "displaced rib fracture"),
        normal=(0,),
        spacing={28: 64 / 28, 64: 1.0},
        md5={28: "6aa7b0143a6b42da40027a9dda61302f", 64: "f01d7e6316aedf4210da0da5b7437b42"},
    ),
    "vesselmnist3d": MedSet(
        axes=3,
        classes=("vessel", "aneurysm"),
        normal=(0,),
        md5={28: "b41fd4f7e7e2feedddb201585ecafa1b", 64: "6bb274a8846e1097066dcd64e2c4520f"},
    ),
    # Neither kind is ill; the excitatory ones are taken for normal.
    "synapsemnist3d": MedSet(
        axes=3,
        classes=("inhibitory synapse", "excitatory synapse"),
        normal=(1,),
        spacing={28: 1.024e-3 / 28, 64: 1.024e-3 / 64},
        md5={28: "1235b78a3cd6280881dd7850a78eadb6", 64: "43bd14ebf3af9d3dd072446fedc14d5e"},
    ),
}
