import numpy as np
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from unlikelihood import KNN, Digits

split = Digits(anomalous=(9,)).split()
normals, X = (part.pixels.reshape(len(part), -1) for part in (split.train, split.test))
y = 1 - split.test.label  # 1 normal, 0 anomalous, for judging alone: fit takes all samples to be normal

decided = make_pipeline(StandardScaler(with_std=False), KNN(alpha=0.05)).fit(normals).predict(X)
print(
    "called anomalous:", np.mean(decided[y == 1] == -1).round(3), "of normals,", np.mean(decided[y == 0] == -1).round(3)
)

folds = StratifiedKFold(5, shuffle=True, random_state=0)
search = GridSearchCV(KNN(alpha=0.05), {"n_neighbors": [1, 5, 25]}, scoring="roc_auc", cv=folds)
print(search.fit(X, y).best_params_)
