"""The models of a server: finding, loading, reloading and unloading them while requests go on."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from edgecnn.artifact import Artifact, open_artifact
from edgecnn.environment import usable_cores
from edgecnn.errors import EdgecnnError, SpecMissingError, UsageError
from edgecnn.foreign import adopt
from edgecnn.serving.batcher import BatcherSettings
from edgecnn.serving.decoding import DecodingPool
from edgecnn.serving.faults import (
    ForbiddenError,
    LoadFailedError,
    NotFoundError,
    UnavailableError,
    refusal_of,
)
from edgecnn.serving.layout import Layout, find_layout
from edgecnn.serving.metrics import ModelStatistics, ServerMetrics
from edgecnn.serving.model import ServedModel, State
from edgecnn.serving.names import is_servable, require_servable
from edgecnn.serving.places import Place, Places
from edgecnn.serving.repository import MODEL_FILE, scan
from edgecnn.serving.runner import Runner, open_runner
from edgecnn.serving_config import ModelSettings, RunSettings, ServingConfig

__all__ = ["InferenceService", "ModelState", "Spread"]

_LOG = logging.getLogger("edgecnn.serving")

#: What requests that have found a version still get to bring it their images, once its file is gone.
_GRACE_S = 1.0

#: Tells all workers, this one included, and returns their answers; one that failed has the key "error".
Spread = Callable[[dict[str, Any]], Awaitable[list[dict[str, Any]]]]


@dataclass(frozen=True, slots=True)
class ModelState:
    """One line of the repository's index."""

    name: str
    version: str
    state: State
    reason: str


class InferenceService:
    """What the protocols are served from. All of it lives on one event loop."""

    def __init__(self, config: ServingConfig, *, cores: int | None = None) -> None:
        """Know the models; :meth:`start` loads them.

        Args:
            config: the models, and the server's limits.
            cores: that the models may use; all usable ones if None.

        Raises:
            UsageError: the repository is no folder, or holds no model and clients cannot load one; or one of
                its folders has a name that no client could ask for.
        """
        self._config = config
        self._settings = config.server
        self._cores = cores or usable_cores()
        self.metrics = ServerMetrics()
        self.pool = DecodingPool(
            self._cores,
            max_pixels=self._settings.max_pixels,
            max_waiting=self._settings.max_queue,
            observe=self.metrics.decode.observe,
        )
        self.spread: Spread | None = None
        self._places = Places()
        self._loading = asyncio.Lock()
        self._started = self._stopping = False
        for settings in config.model:
            self._add(settings.name or Path(settings.path).stem, "1", settings, eager=True)
        if config.repository is not None:
            names = scan(Path(config.repository.path))
            if not names and not config.server.model_control:
                raise UsageError(
                    f"{config.repository.path} holds no model.",
                    f"A repository holds NAME/VERSION/{MODEL_FILE}, such as resnet50/1/{MODEL_FILE}.",
                )
            for name in names:
                require_servable(name, f"Rename its folder in {config.repository.path}.")
                self._look(name)

    async def start(self, *, strict: bool) -> None:
        """Load what is loaded at the start, one after the other.

        Args:
            strict: whether a model that does not load ends it; otherwise the server is not ready.

        Raises:
            EdgecnnError: a model does not load.
        """
        for place in [place for place in self._places if place.eager]:
            try:
                await self._load(place)
            except EdgecnnError:
                if strict:
                    raise
        self._started = True

    async def stop(self) -> None:
        """Answer what was taken, then free everything."""
        self._stopping = True
        for place in self._places:
            await self._unload(place, "the server is stopping")
        await asyncio.to_thread(self.pool.close)

    def leave(self) -> None:
        """Be ready no longer, while what is in work goes on."""
        self._stopping = True

    def live(self) -> bool:
        """Whether the event loop turns."""
        return True

    def ready(self) -> bool:
        """Whether every model that was to be loaded is ready, and the server is not about to stop."""
        eager = (place for place in self._places if place.eager and place.wanted)
        return self._started and not self._stopping and all(place.model.state == "READY" for place in eager)

    def ready_model(self, name: str, version: str | None = None) -> bool:
        """Whether a model takes requests.

        Raises:
            NotFoundError: there is none of that name and version.
        """
        return self._places.find(name, version).model.state == "READY" and not self._stopping

    def index(self, ready_only: bool = False) -> list[ModelState]:
        """All versions of all models."""
        models = [place.model for place in self._places]
        return [
            ModelState(model.name, model.version, model.state, model.reason)
            for model in models
            if model.state == "READY" or not ready_only
        ]

    def knows(self, name: str) -> bool:
        """Whether there is a model of that name."""
        return bool(self._places.versions(name))

    def default_name(self) -> str:
        """The name of the one model.

        Raises:
            BadRequestError: there are several, or none.
        """
        return self._places.only_name()

    async def model(self, name: str, version: str | None = None) -> ServedModel:
        """A model that is ready; one that is loaded when it is asked for is loaded now.

        Raises:
            NotFoundError: there is none of that name and version.
            UnavailableError: it is not ready, and will not be by waiting here.
        """
        place = self._places.find(name, version)
        if place.model.state != "READY" and place.wanted and self._started and not self._stopping:
            try:
                await self._load(place)
            except EdgecnnError as error:
                raise UnavailableError(f"{name} does not load: {error.problem}", error.remedy) from error
        return place.model

    async def load(self, name: str) -> None:
        """Load a model, or load it again where its file has changed; new versions are found.

        Raises:
            ForbiddenError: the server was started without model control.
            NotFoundError: there is none of that name.
            LoadFailedError: its file cannot be loaded; what was loaded goes on.
            UnavailableError: a worker failed.
        """
        await self._control({"load": name})

    async def unload(self, name: str) -> None:
        """Let a model go, all versions of it, after what they have taken.

        Raises:
            ForbiddenError, NotFoundError: as :meth:`load`.
        """
        await self._control({"unload": name})

    async def obey(self, message: dict[str, Any]) -> dict[str, Any]:
        """Do in this process what :meth:`load` or :meth:`unload` asked of all.

        Raises:
            NotFoundError: there is no such model.
            LoadFailedError: it does not load.
        """
        name = message.get("load") or message.get("unload") or ""
        self._look(name)
        self._places.find(name)
        gone = self._forget_gone(name)
        self._look(name)
        for place in list(self._places.versions(name).values()):
            place.wanted = "load" in message
            if not place.wanted:
                await self._unload(place, "it was unloaded")
            elif place.eager or place.model.state == "READY":
                await self._try_load(place)
        for place in gone:
            await asyncio.sleep(_GRACE_S)
            await self._unload(place, f"{place.settings.path} is gone")
        return {}

    def statistics(self, name: str | None = None, version: str | None = None) -> list[ModelStatistics]:
        """Of one model, or of all.

        Raises:
            NotFoundError: there is none of that name and version.
        """
        if name is None:
            chosen = [(place.model.name, place.model.version) for place in self._places]
        elif version is None:
            self._places.find(name)
            chosen = [(name, each) for each in self._places.versions(name)]
        else:
            chosen = [(name, self._places.find(name, version).model.version)]
        return self.metrics.statistics(chosen)

    def sample(self) -> None:
        """Set the gauges of this process to what they are now, and write its counts."""
        self.metrics.flush()
        for place in self._places:
            place.model.metrics.queued.set(place.model.waiting)
        self.metrics.in_flight.set(sum(place.model.in_flight for place in self._places))

    def models(self) -> list[ServedModel]:
        """All of them, ready or not."""
        return [place.model for place in self._places]

    async def _control(self, message: dict[str, Any]) -> None:
        if not self._settings.model_control:
            raise ForbiddenError(
                "Clients of this server may not load and unload models.",
                "Start it with --model-control to allow it.",
            )
        answers = [await self.obey(message)] if self.spread is None else await self.spread(message)
        for answer in answers:
            if "error" in answer:
                raise refusal_of(answer)

    def _forget_gone(self, name: str) -> list[Place]:
        """Take versions whose files are gone out of the table; they are still loaded."""
        repository = self._config.repository
        places = [] if repository is None else self._places.versions(name).values()
        gone = [place for place in places if not Path(place.settings.path).is_file()]
        for place in gone:
            self._places.remove(place)
        return gone

    def _look(self, name: str) -> None:
        """Take note of the versions that the repository has of a model; the newest is loaded at once."""
        repository = self._config.repository
        if repository is None or not is_servable(name):
            return
        found = scan(Path(repository.path)).get(name, {})
        how = {each.name: getattr(repository, each.name) for each in fields(RunSettings)}
        known = self._places.versions(name)
        for version, path in found.items():
            if version not in known:
                self._add(
                    name, version, ModelSettings(**{**how, "path": str(path), "name": name}), eager=False
                )
        newest = list(found)[-1:]
        for version, place in self._places.versions(name).items():
            if version in found:
                place.eager = version in newest

    def _add(self, name: str, version: str, settings: ModelSettings, *, eager: bool) -> None:
        model = ServedModel(
            name,
            version,
            self.pool,
            self.metrics.model(name, version),
            max_images=min(self._settings.max_images, self._settings.max_queue),
            timeout_s=1e-3 * self._settings.timeout_ms,
        )
        self._places.add(Place(model, settings, eager))

    async def _try_load(self, place: Place) -> None:
        try:
            await self._load(place)
        except NotFoundError:
            raise
        except EdgecnnError as error:
            kept = " The one before goes on." if place.model.state == "READY" else ""
            raise LoadFailedError(
                f"{place.model.name} does not load: {error.problem}{kept}", error.remedy
            ) from error

    async def _load(self, place: Place) -> None:
        """Load what the file holds now; nothing happens where that is loaded already."""
        async with self._loading:
            model = place.model
            if model.state != "READY":
                model.mark("LOADING", "it is being loaded")
            try:
                artifact = await asyncio.to_thread(_artifact, place.settings)
                sha256 = await asyncio.to_thread(artifact.sha256)
                if model.state == "READY" and sha256 == place.sha256:
                    return
                before_bytes = _resident_bytes()
                runner = await self._opened(artifact, place)
            except EdgecnnError as error:
                _LOG.warning("%s, version %s, does not load: %s", model.name, model.version, error.problem)
                if model.state != "READY":
                    model.mark("UNAVAILABLE", error.problem.rstrip("."))
                raise
            replaced = model.put(runner)
            place.sha256 = sha256
            place.memory_bytes = max(_resident_bytes() - before_bytes, artifact.size_bytes())
            _log_layout(model, runner.layout)
        if replaced is not None:
            await replaced.close()
        await self._make_room(place)

    async def _opened(self, artifact: Artifact, place: Place) -> Runner:
        layout = await asyncio.to_thread(find_layout, artifact, place.settings, self._cores, _LOG.info)
        settings = BatcherSettings(
            sizes=layout.batch_sizes,
            max_queue=self._settings.max_queue,
            max_delay_s=1e-3 * place.settings.max_delay_ms,
        )
        return await open_runner(artifact, layout, settings, place.model.metrics.batch)

    async def _unload(self, place: Place, reason: str) -> None:
        async with self._loading:
            runner = place.model.take(reason)
            place.sha256, place.memory_bytes = None, 0
        if runner is not None:
            place.model.mark("UNLOADING", reason)
            await runner.close()
            place.model.mark("UNAVAILABLE", reason)
            _LOG.info("%s, version %s, is unloaded: %s", place.model.name, place.model.version, reason)

    async def _make_room(self, newest: Place) -> None:
        """Unload what was not used for longest while the models take more memory than they may."""
        limit_mb = self._settings.memory_limit_mb
        if limit_mb is None:
            return
        loaded = [place for place in self._places if place.memory_bytes and place is not newest]
        loaded.sort(key=lambda place: place.model.used_at)
        total = newest.memory_bytes + sum(place.memory_bytes for place in loaded)
        for place in loaded:
            if total <= limit_mb * 2**20:
                return
            total -= place.memory_bytes
            place.eager = False
            await self._unload(place, "it made room for another; the next request loads it")


def _artifact(settings: ModelSettings) -> Artifact:
    path = Path(settings.path)
    try:
        return open_artifact(path)
    except SpecMissingError:
        if settings.spec is None:
            raise
        return adopt(path, settings.spec)


def _log_layout(model: ServedModel, layout: Layout) -> None:
    curve = ", ".join(
        f"{batch}: {ms:g} ms ({layout.images_per_s.get(batch, 0.0):g} images/s)"
        for batch, ms in layout.call_ms.items()
    )
    _LOG.info(
        "%s, version %s: %d x %s, batches of %s%s",
        model.name,
        model.version,
        layout.instances,
        layout.engine,
        ", ".join(map(str, layout.sizes)),
        f"; measured {curve}" if curve else "",
    )


def _resident_bytes() -> int:
    """Memory of this process now; 0 where the platform does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
