"""Which windows of a recording are the same speaker's: embeddings to labels. NumPy; scikit-learn and SciPy when asked.

`as_funasr` is FunASR's ClusterBackend: fewer than 20 windows are one speaker whatever was asked for; below 2048
spectral clustering; from there on k-means where the number of speakers is known, else UMAP and HDBSCAN, whose random
start FunASR does not seed (here: `seed`).

By default the result hangs on no random number, and differs in this: few windows are joined by average linkage of their
cosines. Of 2048 and more a sample, evenly spaced over the recording, is clustered as a shorter recording would be, and
every window joins the speaker it is nearest to; whoever is like none of them is clustered by itself, so that somebody
who spoke too seldom for the sample is found. UMAP is left out there because its result moves with its seed, and a
full spectral decomposition because it takes memory by the square and time by the cube of the windows.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from mlx_model.errors import DependencyError, UsageError

Embeddings = Float[np.ndarray, "N D"]
Labels = Int[np.ndarray, " N"]
FEW, MANY = 20, 2048  # windows: FunASR's bounds
MOST_SPEAKERS = 15
KEPT = 0.022  # of a row of similarities, at least LEAST_KEPT of them
LEAST_KEPT = 6
ALIKE = 0.78  # cosine of two centroids that are one speaker: FunASR's merge_thr
STRANGER = 0.4  # cosine below which two groups are not joined, and a window is not its centroid's: 3D-Speaker's for AHC
SAMPLE = 1500  # windows of a long recording that are clustered; the eigenvectors of as many take 1 s
LEAST_WINDOWS = 4  # of a speaker who is found among strangers: less than 4 s of speech are no speaker
STARTS = 10  # of k-means


def cluster(
    embeddings: Embeddings, speakers: int | None = None, *, as_funasr: bool = False, seed: int | None = 0
) -> Labels:
    """Return one label a window, counted from 0; which number a speaker has means nothing.

    Mirrors funasr/models/campplus/cluster_backend.py::ClusterBackend.

    Args:
        embeddings: of the windows in time order, not normalised.
        speakers: how many there are; None: found. More than windows: as many as windows.
        as_funasr: see the file.
        seed: of what is random with `as_funasr`; None: NumPy's own state, as FunASR has it.

    Raises:
        UsageError: `speakers` below 1, or with `as_funasr` above the number of windows, where FunASR fails.
        DependencyError: scikit-learn (or, with `as_funasr` and many windows, umap-learn) is not installed.
    """
    count = len(embeddings)
    if speakers is not None and speakers < 1:
        raise UsageError(f"{speakers} speakers: there is at least one")
    if as_funasr:
        return _as_funasr(embeddings, speakers, seed)
    known = None if speakers is None else min(speakers, count)
    if count < 2 or known == 1:
        return np.zeros(count, np.int64)
    embeddings = np.asarray(embeddings, np.float64)
    if count >= MANY:
        return _long(embeddings, known)
    return _short(embeddings, known)


def _as_funasr(embeddings: Embeddings, speakers: int | None, seed: int | None) -> Labels:
    count = len(embeddings)
    if count < FEW:
        return np.zeros(count, np.int64)
    if speakers is not None and speakers > count:
        raise UsageError(f"{speakers} speakers in {count} windows: FunASR fails; without as_funasr there are {count}")
    if count < MANY:
        vectors, found = spectral(embeddings, speakers)
        labels = _k_means(vectors, found, seed, starts="auto")
    elif speakers is not None:
        return _k_means(_needs("sklearn.preprocessing").normalize(embeddings), speakers, 0, starts=STARTS)
    else:
        labels = _umap_hdbscan(embeddings, seed)
    return labels if speakers is not None else merged(labels, embeddings)


def _short(embeddings: Embeddings, speakers: int | None) -> Labels:
    """Labels of fewer than MANY windows."""
    if len(embeddings) < FEW:
        return linked(embeddings, speakers)
    vectors, found = spectral(embeddings, speakers)
    labels = _k_means(vectors, found, 0, starts=STARTS)
    return labels if speakers is not None else merged(labels, embeddings)


def _long(embeddings: Embeddings, speakers: int | None) -> Labels:
    """Labels of many windows, by way of a sample."""
    chosen = np.linspace(0, len(embeddings) - 1, SAMPLE).round().astype(int)
    centroids = _centroids(embeddings[chosen], _short(embeddings[chosen], speakers))
    directions = _normalized(embeddings)
    cosines = directions @ _normalized(centroids).T  # (N, speakers)
    labels = cosines.argmax(axis=1)
    if speakers is not None:
        return labels
    strange = np.flatnonzero(cosines.max(axis=1) < STRANGER)
    if len(strange) >= LEAST_WINDOWS:
        some = strange[np.linspace(0, len(strange) - 1, min(len(strange), SAMPLE)).round().astype(int)]
        others, counts = np.unique(found := linked(embeddings[some], None), return_counts=True)
        new = [embeddings[some[found == other]].mean(0) for other in others[counts >= LEAST_WINDOWS]]
        if new:
            all_of_them = _normalized(np.concatenate([centroids, np.stack(new)]))
            labels[strange] = (directions[strange] @ all_of_them.T).argmax(axis=1)
            labels = np.unique(labels, return_inverse=True)[1]
    return merged(labels, embeddings)


def spectral(embeddings: Embeddings, speakers: int | None) -> tuple[Float[np.ndarray, "N K"], int]:
    """Return the eigenvectors that windows are told apart by, and how many speakers there are.

    Mirrors SpectralCluster: cosines, of each row the largest kept, made symmetric, the Laplacian that is not
    normalised, and where the number is not known the widest gap between its eigenvalues.
    """
    values, vectors = _needs("scipy.linalg").eigh(laplacian(pruned(similarities(embeddings))))
    return (vectors[:, :speakers], speakers) if speakers is not None else _widest(values, vectors)


def _widest(values: np.ndarray, vectors: np.ndarray) -> tuple[np.ndarray, int]:
    found = int(np.argmax(gaps(values))) + 1
    return vectors[:, :found], found


def similarities(embeddings: Embeddings) -> Float[np.ndarray, "N N"]:
    """Return the cosines of all pairs, in the embeddings' precision."""
    return _needs("sklearn.metrics.pairwise").cosine_similarity(embeddings, embeddings)


def pruned(similar: Float[np.ndarray, "N N"]) -> Float[np.ndarray, "N N"]:
    """Return each row with its largest entries and 0 for the others; at least 6 are kept. Mirrors p_pruning."""
    count = len(similar)
    share = LEAST_KEPT / count if count * KEPT < LEAST_KEPT else KEPT
    lowest = int((1 - share) * count)
    kept = similar.copy()
    for row in kept:
        row[np.argsort(row)[:lowest]] = 0
    return kept


def laplacian(kept: Float[np.ndarray, "N N"]) -> Float[np.ndarray, "N N"]:
    """Return degree minus weight of the symmetric graph without its diagonal. Mirrors get_laplacian."""
    weights = 0.5 * (kept + kept.T)
    np.fill_diagonal(weights, 0)
    return np.diag(np.abs(weights).sum(axis=1)) - weights


def gaps(values: Float[np.ndarray, " N"]) -> Float[np.ndarray, " G"]:
    """Return by how much each of the first eigenvalues is exceeded by the next, for 1 to 15 speakers."""
    return np.diff(values[: MOST_SPEAKERS + 1].astype(np.float64))


def linked(embeddings: Embeddings, speakers: int | None) -> Labels:
    """Return labels by average linkage of cosines, down to `speakers` groups or until none are alike enough."""
    if len(embeddings) < 2:
        return np.zeros(len(embeddings), np.int64)
    hierarchy = _needs("scipy.cluster.hierarchy")
    directions = _normalized(np.asarray(embeddings, np.float64))
    distances = 1 - (directions @ directions.T)[np.triu_indices(len(directions), 1)]
    tree = hierarchy.linkage(np.maximum(distances, 0), "average")
    if speakers is not None:
        return hierarchy.fcluster(tree, speakers, "maxclust").astype(np.int64) - 1
    return hierarchy.fcluster(tree, 1 - STRANGER, "distance").astype(np.int64) - 1


def merged(labels: Labels, embeddings: Embeddings, alike: float = ALIKE) -> Labels:
    """Return labels with speakers joined whose centroids' cosine is at least `alike`. Mirrors merge_by_cos.

    FunASR fails where HDBSCAN calls every window noise (-1); here they are then one speaker.
    """
    labels = labels.copy()
    while (count := labels.max() + 1) > 1:
        centroids = _normalized(_centroids(embeddings, labels))
        pairs = np.triu(centroids @ centroids.T, 1)
        first, second = np.unravel_index(np.argmax(pairs), pairs.shape)
        if pairs[first, second] < alike:
            break
        labels[labels == second] = first
        labels[labels > second] -= 1
        assert labels.max() + 1 < count
    return labels


def _centroids(embeddings: Embeddings, labels: Labels) -> Float[np.ndarray, "K D"]:
    return np.stack([embeddings[labels == number].mean(0) for number in range(labels.max() + 1)])


def _normalized(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.finfo(rows.dtype).tiny)


def _k_means(rows: np.ndarray, groups: int, seed: int | None, *, starts: int | str) -> Labels:
    found: Any = _needs("sklearn.cluster").k_means(rows, groups, random_state=seed, n_init=starts)
    return found[1].astype(np.int64)


def _umap_hdbscan(embeddings: Embeddings, seed: int | None) -> Labels:
    """Mirrors UmapHdbscan."""
    reducer = _needs("umap.umap_").UMAP(
        n_neighbors=20, min_dist=0.0, n_components=min(60, len(embeddings) - 2), metric="cosine", random_state=seed
    )
    near = reducer.fit_transform(embeddings)
    found = _needs("sklearn.cluster").HDBSCAN(min_samples=10, min_cluster_size=10, allow_single_cluster=True)
    return found.fit_predict(near).astype(np.int64)


def _needs(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = {"sklearn": "scikit-learn", "umap": "umap-learn"}.get(str(error.name), error.name)
        raise DependencyError(f"telling speakers apart needs {package}: pip install 'mlx-funasr[speakers]'") from error
