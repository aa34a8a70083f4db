import numpy as np
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from unlikelihood import KNN, Digits

split = Digits(anomalous=(9,)).split()
normals, X = (part.pixels.reshape(len(part), -1) for part in (split.train, split.test))
y = 1 - split.test.label  # 1 normal, 0 anomalous, for judging alone: fit takes all samples to be normal

decided = make_pipeline(StandardScaler(with_std=False), KNN(alpha=0.05)).fit(normals).predict(X)
normal, nines = (np.mean(decided[y == kind] == -1) for kind in (1, 0))
print(f"called anomalous: {normal:.3f} of the normals, {nines:.3f} of the nines")

folds = StratifiedKFold(5, shuffle=True, random_state=0)
search = GridSearchCV(KNN(alpha=0.05), {"n_neighbors": [1, 5, 25]}, scoring="roc_auc", cv=folds)
print(search.fit(X, y).best_params_)
