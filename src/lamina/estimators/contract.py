"""scikit-learn's estimator contract without importing scikit-learn until it is asked for.

Importing ``sklearn.base`` takes about a second, twice what JAX takes, because it imports pandas and
scipy.stats. So `Estimator` does not inherit from it: constructor parameters are the fields of a
dataclass, and whatever only scikit-learn's machinery calls is scikit-learn's own code, called then.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any


@dataclass(kw_only=True, eq=False, repr=False)
class Estimator:
    """Parameters in and out; `fit` and `predict` are the subclasses'.

    A subclass is a dataclass whose fields are its constructor parameters, stored as they are given.
    """

    @classmethod
    def _get_param_names(cls) -> list[str]:
        return sorted(field.name for field in fields(cls))

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the constructor parameters by name; ``deep`` is there for scikit-learn."""
        return {name: getattr(self, name) for name in self._get_param_names()}

    def set_params(self, **params: Any):
        """Set constructor parameters by name and return the estimator."""
        from sklearn.base import BaseEstimator

        return BaseEstimator.set_params(self, **params)  # type: ignore

    def __repr__(self) -> str:
        """Return the call that makes it, with the parameters that are not the defaults."""
        changed = [
            f"{field.name}={value!r}"
            for field in fields(self)
            if (value := getattr(self, field.name)) is not field.default and value != field.default
        ]
        return f"{type(self).__name__}({', '.join(changed)})"

    def __sklearn_tags__(self):
        from sklearn.utils import InputTags, Tags, TargetTags

        return Tags(
            estimator_type=None,
            target_tags=TargetTags(required=True, multi_output=True),
            input_tags=InputTags(),
        )

    def get_metadata_routing(self):
        """Return which of ``sample_weight`` and the like `fit` and `score` take."""
        from sklearn.utils.metadata_routing import MetadataRequest

        request = MetadataRequest(owner=self)
        for method in ("fit", "partial_fit", "score"):
            if hasattr(self, method):
                requested = getattr(self, "_requested", {}).get(method)
                getattr(request, method).add_request(param="sample_weight", alias=requested)
        return request

    def _request(self, method: str, alias: bool | str | None):
        self._requested = {**getattr(self, "_requested", {}), method: alias}
        return self

    def set_fit_request(self, *, sample_weight: bool | str | None = None):
        """Say whether a meta-estimator passes ``sample_weight`` to `fit`."""
        return self._request("fit", sample_weight)

    def set_score_request(self, *, sample_weight: bool | str | None = None):
        """Say whether a meta-estimator passes ``sample_weight`` to `score`."""
        return self._request("score", sample_weight)
