"""Computes the figures of `GET /api/stats` from the rolls alone, with SciPy and NumPy. Takes the
path of the database and that of the response. Prints each difference, and `same N` with the number
of figures that were compared.
"""

import itertools
import json
import math
import sqlite3
import sys

import numpy as np
from scipy import special, stats

BLOCK = 3600
PRIOR = 100

n_compared = 0


def compare(what, seen, expected, tolerance=0.0):
    global n_compared
    n_compared += 1
    if seen is None or expected is None:
        same = seen is expected
    else:
        same = abs(seen - expected) <= tolerance * max(1.0, abs(expected))
    if not same:
        print(f"{what}: expected {expected}, saw {seen}")


def fair_sum(n_dice, n_sides):
    one = np.full(n_sides, 1 / n_sides)
    chances = np.array([1.0])
    for _ in range(n_dice):
        chances = np.convolve(chances, one)
    return chances


def cells_of(chances):
    """Neighbours together until each has 5 of 3,600 rolls; the rest goes with the last."""
    cells, members = [], []
    for i, chance in enumerate(chances):
        members.append(i)
        if sum(chances[members]) >= 5 / BLOCK:
            cells.append(members)
            members = []
    if members:
        cells[-1] += members
    return cells


def log_evidence(counts, chances):
    """The Dirichlet-multinomial likelihood over the fair one: in closed form, not roll by roll."""
    prior = PRIOR * len(chances) * chances
    log = special.gammaln(prior + counts) - special.gammaln(prior) - counts * np.log(chances)
    total = prior.sum()
    n = counts.sum()
    return log.sum() - (special.gammaln(total + n) - special.gammaln(total))


def highest_evidence(indices, chances):
    counts = np.zeros(len(chances))
    log, highest = 0.0, 0.0
    for n, index in enumerate(indices):
        chance = chances[index]
        prior = PRIOR * len(chances)
        log += math.log((prior * chance + counts[index]) / (prior + n) / chance)
        highest = max(highest, log)
        counts[index] += 1
    return highest


def of_die(report, results, alarm):
    name = report["die"]
    n_dice, n_sides = map(int, name.split("D"))
    chances = fair_sum(n_dice, n_sides)
    values = np.arange(n_dice, n_dice * n_sides + 1)
    n = len(results)
    compare(f"{name} n_rolls", report["n_rolls"], n)

    mean, spread = chances @ values, math.sqrt(chances @ (values - chances @ values) ** 2)
    low, high = stats.norm.interval(0.95, mean, spread / math.sqrt(n))
    compare(f"{name} mean", report["mean"]["seen"], np.mean(results), 1e-12)
    compare(f"{name} mean expected", report["mean"]["expected"], mean, 1e-12)
    compare(f"{name} mean low", report["mean"]["low"], max(low, values[0]), 1e-9)
    compare(f"{name} mean high", report["mean"]["high"], min(high, values[-1]), 1e-9)

    for row in report["results"]:
        what = f"{name} {row['from']} to {row['to']}"
        among = (values >= row["from"]) & (values <= row["to"])
        chance = min(chances[among].sum(), 1.0)
        hits = [row["from"] <= result <= row["to"] for result in results]
        compare(f"{what} n_rolls", row["n_rolls"], sum(hits))
        compare(f"{what} expected", row["expected"], n * chance, 1e-9)
        compare(f"{what} low", row["low"], stats.binom.ppf(0.025, n, chance))
        compare(f"{what} high", row["high"], stats.binom.ppf(0.975, n, chance))
        since = next(itertools.chain((i for i, hit in enumerate(reversed(hits)) if hit), [n]))
        compare(f"{what} n_since", row["n_since"], since)

    streaks = [len(list(run)) for _, run in itertools.groupby(results)]
    compare(f"{name} longest streak", report["longest_streak"]["length"], max(streaks))

    indices = np.array(results) - n_dice
    counts = np.bincount(indices, minlength=len(chances))
    ten = math.log(10)
    evidence = report["fairness"]
    compare(f"{name} evidence", evidence["log10_e"], log_evidence(counts, chances) / ten, 1e-6)
    highest = highest_evidence(indices, chances)
    compare(f"{name} highest evidence", evidence["highest_log10_e"], highest / ten, 1e-9)
    compare(f"{name} alarm at", evidence["alarm"], alarm)
    compare(f"{name} alarm", evidence["alarm_id"] is not None, highest >= math.log(alarm))

    cells = cells_of(chances)
    expected = [BLOCK * chances[cell].sum() for cell in cells]
    blocks = report["blocks"]
    compare(f"{name} freedom", blocks["degrees_of_freedom"], len(cells) - 1)
    p_values = []
    for start in range(0, n - BLOCK + 1, BLOCK):
        block = np.bincount(indices[start : start + BLOCK], minlength=len(chances))
        judged = stats.chisquare([block[cell].sum() for cell in cells], expected)
        p_values.append(judged.pvalue)
    compare(f"{name} blocks", blocks["n_blocks"], len(p_values))
    if p_values:
        compare(f"{name} chi-square", blocks["last_chi_square"], judged.statistic, 1e-9)
        compare(f"{name} p", blocks["last_p"], judged.pvalue, 1e-9)
    histogram = np.histogram(p_values, 20, (0, 1))[0]
    for row, n_blocks in zip(blocks["p_values"], histogram, strict=True):
        compare(f"{name} p from {row['from']}", row["n_blocks"], n_blocks)
        compare(f"{name} p low", row["low"], stats.binom.ppf(0.025, len(p_values), 0.05))
        compare(f"{name} p high", row["high"], stats.binom.ppf(0.975, len(p_values), 0.05))


def main():
    with open(sys.argv[2]) as file:
        seen = json.load(file)
    database = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True)
    rows = database.execute("select dice from rolls where id <= ? order by id", [seen["as_of"]])
    rolls = [json.loads(dice) for (dice,) in rows]
    for report in seen["dice"]:
        results = [roll[report["die"]] for roll in rolls if report["die"] in roll]
        of_die(report, results, 20 * len(seen["dice"]))
    print(f"same {n_compared}")


main()
