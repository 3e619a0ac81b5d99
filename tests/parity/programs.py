"""fedpeft's programs, for the parity scripts: a command that has to succeed, a federation of processes on loopback."""
import contextlib
import json
import os
import pathlib
import re
import subprocess
import time

LOOK_S = 0.2
LISTEN_WITHIN_S = 60
FAREWELL_S = 30


class Programs:
    """The two programs of a build folder, and the base model they use."""

    def __init__(self, build, base):
        self.server = pathlib.Path(build) / "server/fedpeft-server"
        self.client = pathlib.Path(build) / "client/fedpeft-client"
        self.batches = pathlib.Path(build) / "tests/parity/batches_main"
        self.base = pathlib.Path(base)

    @classmethod
    def of_environment(cls):
        """By FEDPEFT_BUILD and FEDPEFT_BASE, which run.py sets; None, and says so, where there is nothing to test."""
        programs = cls(os.environ.get("FEDPEFT_BUILD", "build/release"),
                       os.environ.get("FEDPEFT_BASE", "build/base/minilm"))
        for path in (programs.server, programs.client, programs.base / "config.json"):
            if not path.exists():
                print(f"left out: there is no {path} (set FEDPEFT_BUILD and FEDPEFT_BASE)")
                return None
        return programs

    def run_client(self, verb, *options):
        """Standard output of a verb that needs no coordinator."""
        return checked([self.client, verb, "--base", self.base, *options])

    def export(self, state, folder, *options):
        checked([self.server, "export", "--state", state, *options, folder])


def checked(command):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: exit status {done.returncode}\n{done.stderr}")
    return done.stdout


def setting_options(settings):
    return [option for key, value in settings.items() for option in ("--set", f"{key}={value}")]


class Federation:
    """A coordinator and client processes on loopback, with logs and state in a folder; ends what it started.

    A folder whose run was cut off is gone on with: the coordinator resumes from its state.
    """

    def __init__(self, programs, run_yaml, folder, settings, options=()):
        self.programs = programs
        self.folder = pathlib.Path(folder)
        self.state = self.folder / "state"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._running = contextlib.ExitStack()
        self._clients = []
        self._server = self._start("server", [programs.server, "serve", run_yaml, "--state", self.state, "--listen",
                                              "127.0.0.1:0", *setting_options(settings), *options])
        self.peak_kib = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._running.close()

    def _start(self, name, command):
        log = self._running.enter_context(open(self.folder / f"{name}.log", "w", encoding="utf-8"))
        process = subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._running.callback(process.wait)
        self._running.callback(process.kill)
        return process

    def _log(self, name):
        return (self.folder / f"{name}.log").read_text(encoding="utf-8")

    def wait_until_listening(self):
        """Its port."""
        give_up = time.monotonic() + LISTEN_WITHIN_S
        while time.monotonic() < give_up and self._server.poll() is None:
            if (found := re.search(r"^serving run .* on port (\d+),", self._log("server"), re.MULTILINE)):
                return found[1]
            time.sleep(0.02)
        raise RuntimeError(f"the coordinator does not listen:\n{self._log('server')}")

    def join(self, name, data, *options):
        self._clients.append(self._start(name, [
            self.programs.client, "join", "--server", f"127.0.0.1:{self.wait_until_listening()}", "--base", self.programs.base,
            "--data", data, "--name", name, *options]))

    def run(self):
        """Waits for the end of the run. The rounds are in rounds(), the coordinator's peak memory in peak_kib."""
        while self._server.poll() is None:
            self.peak_kib = max(self.peak_kib, peak_memory_kib(self._server.pid))
            if any(client.poll() for client in self._clients):
                raise RuntimeError(f"a client process failed; the logs are in {self.folder}")
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._server.wait(LOOK_S)
        if self._server.returncode != 0:
            raise RuntimeError(f"the run failed:\n{self._log('server')}")
        for client in self._clients:
            client.wait(FAREWELL_S)

    def rounds(self):
        """rounds.jsonl: the start and each committed round."""
        lines = (self.state / "rounds.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]


def peak_memory_kib(pid):
    """VmHWM of a process; 0 once it is gone."""
    try:
        status = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except FileNotFoundError:
        return 0
    found = re.search(r"^VmHWM:\s*(\d+) kB", status, re.MULTILINE)
    return int(found[1]) if found else 0
