#!/usr/bin/env python3
"""What differential privacy costs in accuracy: PEFT methods at several epsilons, federated and simulated.

MiniLM; 500 virtual clients, each of which is in a round with probability one half; the run is configs/methods/lora.yaml
and its like with the settings below. `central` noise is the coordinator's, `distributed` the clients' own shares of it
under secure aggregation. Epsilon inf clips as the others do and adds next to no noise, so that what differs is the noise.
Each run's epsilon, as its ledger has it, is held against dp-accounting's for the same rounds.

A cell is a method, a data set, an epsilon, a mechanism and a seed: one JSON file in the folder of cells. What is there
is not computed again; a cell that was cut off is. The exit status is 1 when cells are missing, an epsilon is not
dp-accounting's, or distributed noise is more than a point worse than central where that learns, in means over seeds.

Usage: FEDPEFT_DATA=DIR build/venv/bin/python tests/bench/privacy.py [--full] [--report] [--methods lora prompt] …
"""
import dataclasses
import json
import math
import shlex
import shutil
import sys
import time

from cells import ROOT, DATA, SST2, Data, commit, last_accuracy, make_parser, parse, run_experiment, shown_accuracy
from programs import Federation, checked, setting_options  # in tests/parity, which cells has found

METHODS = ("lora", "ffa_lora", "prompt", "bitfit", "lora_top")
COMPARED = "lora_top"  # LoRA in the last layer: few values, so that the noise is small beside what they learn
EPSILONS = (2, 8, math.inf)
MECHANISMS = ("central", "distributed")
CLIENTS = 500
COHORT = 250
ROUNDS = 20
SEEDS = (1, 2, 3)
DELTA = 1e-4
EPSILON_WITHIN = 0.01
LEARNS_BY = 0.2  # central, beyond a guess, for distributed to be held against it
WORSE_BY = 0.01
BAR = 50  # characters of the plot for 100 %


@dataclasses.dataclass(frozen=True)
class Cell:
    method: str
    data: Data
    epsilon: float
    mechanism: str
    seed: int

    @property
    def name(self):
        return f"{self.data.name}_{self.method}_eps{self.epsilon:g}_{self.mechanism}_seed{self.seed}"

    @property
    def run(self):
        return ROOT / f"configs/methods/{'lora' if self.has_lora else self.method}.yaml"

    @property
    def has_lora(self):
        return self.method in ("lora", "ffa_lora", "lora_top")

    def settings(self):
        """What the cell changes of the method's run."""
        settings = {
            "seed": self.seed, **self.data.problem(),
            "train.learning_rate": 1, "train.schedule.kind": "constant", "train.schedule.final_factor": 0,
            "train.batch_size": 16, "train.steps": 1,
            "schedule.0.rounds": ROUNDS, "schedule.0.participation.cohort": COHORT,
            "schedule.0.participation.min_clients": 100, "schedule.0.participation.deadline_s": 7200,
            "schedule.0.reducer.weights": "uniform", "schedule.0.reducer.max_weight": 0,
            "schedule.0.server_optimizer.kind": "fedavgm", "schedule.0.server_optimizer.learning_rate": 1,
            "schedule.0.server_optimizer.beta1": 0.9, "schedule.0.server_optimizer.tau": 1e-3,
            "evaluation.every": ROUNDS, "evaluation.min_evaluators": 1, "evaluation.deadline_s": 7200,
            "privacy.mechanism": self.mechanism, "privacy.population": CLIENTS, "privacy.clip.norm": 0.2,
            "privacy.budget.delta": DELTA, "privacy.accountant": "rdp"}
        if math.isinf(self.epsilon):
            settings |= {"privacy.budget.epsilon": 1e6, "privacy.noise_multiplier": 0.05}
        else:
            settings |= {"privacy.budget.epsilon": self.epsilon}
        if self.has_lora:
            settings |= {"peft.lora.rank": 2, "peft.lora.alpha": 4}
        if self.method == "lora_top":
            settings |= {"peft.lora.layers": "[5]"}
        if self.method == "ffa_lora":
            settings |= {"schedule.0.views": json.dumps([{"frozen": ["lora_a"]}])}
        if self.mechanism == "distributed":  # everybody is honest here, and stays
            settings |= {"secure_aggregation.mode": "pairwise", "secure_aggregation.threat": "curious",
                         "secure_aggregation.max_drop_out": 0.05, "secure_aggregation.max_corrupt": 0.02,
                         "secure_aggregation.step_deadline_s": 3600, "secure_aggregation.upload_deadline_s": 3600}
        return settings


class Runner:
    """Computes cells."""

    def __init__(self, cells, programs, data, threads):
        self.cells, self.programs, self.data, self.threads = cells, programs, data, threads

    def run(self, cell):
        started = time.monotonic()
        work = self.cells.folder / f"{cell.name}.run"
        shutil.rmtree(work, ignore_errors=True)  # of a cell that was cut off
        with Federation(self.programs, cell.run, work, cell.settings()) as federation:
            federation.join("trainers", self.data / cell.data.train, "--virtual-clients", CLIENTS, "--threads",
                            self.threads)
            federation.join("evaluator", self.data / cell.data.test, "--role", "evaluator", "--threads", self.threads)
            federation.run()
        rounds = [{"round": line["round"], "accuracy": line.get("eval_accuracy"), "seconds": line["seconds"],
                   "participants": line["participants"]} for line in federation.rounds()]
        budget = json.loads(checked([self.programs.server, "budget", "--state", work / "state", "--json"]))
        sizes = checked([self.programs.server, "check", cell.run, *setting_options(cell.settings())])
        shutil.rmtree(work)
        result = {
            "method": cell.method, "data": cell.data.name, "epsilon": budget["spent"], "mechanism": cell.mechanism,
            "seed": cell.seed, "commit": commit(),
            "command": shlex.join(["tests/bench/privacy.py", "--data", cell.data.name, "--methods", cell.method,
                                   "--epsilons", f"{cell.epsilon:g}", "--mechanisms", cell.mechanism, "--seeds",
                                   str(cell.seed), "--threads", str(self.threads)]),
            "settings": cell.settings(), "noise_multiplier": budget["noise_multiplier"],
            "values": int(sizes.split("an update")[1].split()[0]) // 4 if "an update" in sizes else None,
            "seconds": round(time.monotonic() - started, 1), "rounds": rounds}
        self.cells.write(cell, result)
        return result


def epsilon_by_dp_accounting(noise_multiplier):
    """Of all rounds, the clients' noise taken for the Gaussian that it is nearly."""
    from dp_accounting import dp_event
    from dp_accounting.rdp import rdp_privacy_accountant
    accountant = rdp_privacy_accountant.RdpAccountant()
    accountant.compose(dp_event.PoissonSampledDpEvent(COHORT / CLIENTS, dp_event.GaussianDpEvent(noise_multiplier)),
                       ROUNDS)
    return accountant.get_epsilon(DELTA)


def cells_of(data, args):
    """Without --full and --mechanisms, distributed noise is held against central's with one method on SST-2, over all
    seeds: what it does to a vector is the same whatever the vector means."""
    everything = args.full or args.mechanisms
    return [Cell(method, data, epsilon, mechanism, seed)
            for seed in sorted({*SEEDS, *args.seeds}) for mechanism in args.mechanisms or MECHANISMS
            for epsilon in args.epsilons for method in args.methods
            if seed in args.seeds and (everything or mechanism == "central") or
            not everything and method == COMPARED and data is SST2 and not math.isinf(epsilon)]


def report(cells, args):
    """Prints the tables and plots; returns what is wrong with the cells, missing ones too."""
    wrong = []
    for data in args.data:
        chosen = cells_of(data, args)
        columns = list(dict.fromkeys((cell.mechanism, cell.epsilon) for cell in chosen))
        print(f"\n{data.title}: test accuracy in %, of several seeds the mean ± half the range\n")
        print(f"| method | values | {' | '.join(f'{mechanism}, ε = {epsilon:g}' for mechanism, epsilon in columns)} |")
        print(f"| --- | ---: | {' | '.join('---:' for _ in columns)} |")
        table = {method: {column: [] for column in columns} for method in args.methods}
        for cell in chosen:
            table[cell.method][cell.mechanism, cell.epsilon].append(cells.read(cell))
        for method, row in table.items():
            some = [result for results in row.values() for result in results if result]
            values = f"{some[0]['values']:,}" if some else "-"
            print(f"| {method} | {values} | {' | '.join(map(shown_accuracy, row.values()))} |")
        print("\n```")
        for method, row in table.items():
            for (mechanism, epsilon), results in row.items():
                found = [last_accuracy(result) for result in results if result]
                if found:
                    mean = sum(found) / len(found)
                    print(f"{method:9}{mechanism:12}ε {epsilon:<4g}{'█' * round(BAR * mean)} {100 * mean:.1f}")
        print("```")
        for cell in chosen:
            wrong += complaints(cell, cells.read(cell))
        wrong += comparisons(chosen, cells)
    return wrong


def complaints(cell, result):
    if result is None:
        return [f"{cell.name}: is missing"]
    found = []
    if cell.mechanism == "central" and not math.isinf(cell.epsilon):
        want = epsilon_by_dp_accounting(result["noise_multiplier"])
        if abs(result["epsilon"] - want) > EPSILON_WITHIN * want:
            found.append(f"{cell.name}: spent epsilon {result['epsilon']:.4f}, dp-accounting says {want:.4f}")
    return found


def comparisons(chosen, cells):
    """What distributed noise costs beyond central, in means over the seeds that have both: noise moves one seed by more
    than a point."""
    found = []
    for cell in dict.fromkeys(dataclasses.replace(cell, seed=0) for cell in chosen if cell.mechanism == "distributed"):
        pairs = [[cells.read(dataclasses.replace(other, mechanism=mechanism)) for mechanism in MECHANISMS]
                 for other in chosen if dataclasses.replace(other, seed=0) == cell]
        pairs = [list(map(last_accuracy, pair)) for pair in pairs if all(pair)]
        if not pairs:
            continue
        central, distributed = (sum(values) / len(pairs) for values in zip(*pairs))
        what = f"{cell.data.title}, {cell.method}, ε = {cell.epsilon:g}"
        print(f"{what}, means of {len(pairs)}: central {100 * central:.2f}, distributed {100 * distributed:.2f}")
        learns = central >= 1 / (2 if cell.data is SST2 else 77) + LEARNS_BY
        if learns and distributed < central - WORSE_BY:
            found.append(f"{what}: distributed noise is worse than central")
    return found


def main():
    parser = make_parser(__doc__, "privacy", METHODS,
                         full="epsilon 2 too, seeds 1, 2 and 3, and distributed noise for every cell")
    parser.add_argument("--epsilons", nargs="+", type=float)
    parser.add_argument("--mechanisms", nargs="+", choices=MECHANISMS, metavar="NAME")
    args = parse(parser, short_data=DATA)
    args.epsilons = args.epsilons or (list(EPSILONS) if args.full else [8, math.inf])
    return run_experiment(args, [cell for data in args.data for cell in cells_of(data, args)], Runner, report)


if __name__ == "__main__":
    sys.exit(main())
