import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, train_test_split

from unlikelihood import VAE

pixels, digit = load_digits(return_X_y=True)
X = (pixels / 16).astype(np.float32).reshape(-1, 1, 8, 8)[digit != 9]  # the nines wait for the test
y = ~np.isin(digit[digit != 9], (4, 7))  # normal, but for fours and sevens, which stand in for the nines
fitted, held_out = train_test_split(np.flatnonzero(y), test_size=0.2, random_state=0)
judged = np.concatenate([held_out, np.flatnonzero(~y)])


def auroc(detector, X, y):
    return roc_auc_score(y, detector.score_samples(X))


detector = VAE(width=4, epochs=10, learning_rate=3e-3)
search = GridSearchCV(detector, {"latent": [2, 8, 32]}, scoring=auroc, cv=[(fitted, judged)], refit=False, n_jobs=2)
search.fit(X, y)
for setting, found in zip(search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True):
    print(setting, f"AUROC {found:.3f}")
