"""Tables with categories, gaps and dates: Diptych's columns against skrub's TableVectorizer.

    python benchmarks/tables.py [--repeats 3] [--skrub-python PATH | --install-peers]

Both encode the same rows for the same two models, XGBoost (150 trees) and logistic regression,
and are scored on the same held-out rows: area under the ROC curve and accuracy, the mean over
`--repeats` tables drawn with other seeds. The CPU time covers reading, fitting and predicting, not
imports, which the last table gives. ``XGBoost's own`` is Diptych with one column a category, which
XGBoost splits itself, in place of one-hot columns. For logistic regression skrub's columns are
standardised and gaps take the mean, as its guide advises.

The tables are modelled on the kinds people have: passengers (Titanic-like), subscribers
(telco-like), clients of a bank, rare claims, churn, and scikit-learn's tumours and wine, with
every value written as in a CSV file. skrub lives in an environment of its own, made by
`--install-peers`.

What was decided with it: Diptych keeps its own encoder. Its areas are at least skrub's less 0.01
(skrub also reads ids, which Diptych leaves out), it starts without scikit-learn, and what is
fitted is JSON that cannot run code, where skrub's is a pickle. One-hot columns stay: XGBoost's own
handling of categories gains nothing that repeats.
"""

import argparse
import importlib.metadata
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from results import record

PEERS = Path(tempfile.gettempdir()) / "diptych-peers" / "skrub"
NAMES = {
    "diptych": "Diptych `ColumnFeatures`",
    "native": "Diptych, categories XGBoost's own",
    "skrub": "skrub `TableVectorizer`",
}
TREES = {"max_depth": 4, "eta": 0.1, "nthread": 1, "seed": 0}
ROUNDS = 150


def passengers(rows, seed):
    """Numbers, sex, class, port and cabin with gaps, names; who survived."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng([seed, 11])
    sex, klass = rng.random(rows) < 0.36, rng.choice([1, 2, 3], rows, p=[0.24, 0.21, 0.55])
    age = np.clip(rng.normal(38 - 4.5 * klass + 4, 13, rows), 0.4, 78).round(1)
    siblings, parents = rng.poisson(0.5, rows), rng.poisson(0.38, rows)
    fare = np.exp(rng.normal(4.9 - 0.8 * klass, 0.55, rows)).round(2)
    score = -0.7 + 2.6 * sex - 0.9 * (klass - 2) - 0.03 * (age - 30) - 0.3 * siblings
    score = score + np.where(age < 10, 1.2, 0) - np.where(sex & (klass == 3), 1.2, 0)
    port = rng.choice(["S", "C", "Q"], rows, p=[0.72, 0.19, 0.09])
    title = np.where(sex, "Mrs", np.where(age < 14, "Master", "Mr"))
    letters = "abcdefghijklmnoprstuvw"
    last = ["".join(rng.choice(list(letters), 6)).title() for _ in range(rows)]
    cabin = [f"{'ABCDE'[rng.integers(5)]}{rng.integers(1, 99)}" for _ in range(rows)]
    no_cabin = rng.random(rows) < np.where(klass == 1, 0.2, 0.93)
    frame = pd.DataFrame({
        "PassengerId": range(1, rows + 1), "Pclass": klass,
        "Name": [f"{a}, {b}. {c}" for a, b, c in zip(last, title, reversed(last), strict=True)],
        "Sex": np.where(sex, "female", "male"),
        "Age": pd.Series(age).mask(rng.random(rows) < 0.2), "SibSp": siblings, "Parch": parents,
        "Fare": fare, "Cabin": pd.Series(cabin).mask(no_cabin), "Embarked": port,
    })  # fmt: skip
    return frame.assign(label=_drawn(rng, score))


def subscribers(rows, seed):
    """Nineteen columns, most of them categories with three values; who left."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng([seed, 12])
    tenure = np.minimum(rng.gamma(1.1, 30, rows), 72).round()
    internet = rng.choice(["DSL", "Fiber optic", "No"], rows, p=[0.34, 0.44, 0.22])
    contract = rng.choice(["Month-to-month", "One year", "Two year"], rows, p=[0.55, 0.21, 0.24])
    payment = rng.choice(
        [
            "Electronic check",
            "Mailed check",
            "Bank transfer (automatic)",
            "Credit card (automatic)",
        ],
        rows,
    )
    frame = pd.DataFrame({
        "gender": rng.choice(["Male", "Female"], rows), "SeniorCitizen": rng.random(rows) < 0.16,
        "Partner": rng.choice(["Yes", "No"], rows), "Dependents": rng.choice(["Yes", "No"], rows),
        "tenure": tenure, "PhoneService": rng.choice(["Yes", "No"], rows, p=[0.9, 0.1]),
        "InternetService": internet, "Contract": contract,
        "PaperlessBilling": rng.choice(["Yes", "No"], rows), "PaymentMethod": payment,
    })  # fmt: skip
    score = 0.2 * frame["SeniorCitizen"] + 0.3 * (frame["PaperlessBilling"] == "Yes")
    for name in ("MultipleLines", "OnlineSecurity", "OnlineBackup", "DeviceProtection",
                 "TechSupport", "StreamingTV", "StreamingMovies"):  # fmt: skip
        values = rng.choice(["Yes", "No"], rows)
        frame[name] = np.where(internet == "No", "No internet service", values)
        score = score - 0.45 * (
            (frame[name] == "Yes") & (name in ("OnlineSecurity", "TechSupport"))
        )
    base = np.select([internet == "DSL", internet == "No"], [45, 20], 75)
    frame["MonthlyCharges"] = (base + rng.normal(0, 12, rows)).round(2)
    total = (frame["MonthlyCharges"] * tenure).round(2).astype(str)
    frame["TotalCharges"] = total.where(tenure > 0, " ")
    score = score - 0.2 - 0.035 * tenure + 0.9 * (internet == "Fiber optic")
    score = score + np.select([contract == "One year", contract == "Two year"], [-1.2, -2], 0)
    score = score + 0.5 * (payment == "Electronic check")
    return frame.assign(label=_drawn(rng, score))


def clients(rows, seed):
    """Jobs, months and earlier outcomes of a bank's campaign; one in nine says yes."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng([seed, 13])
    jobs = ["admin.", "blue-collar", "technician", "services", "management", "retired",
            "entrepreneur", "self-employed", "housemaid", "unemployed", "student",
            "unknown"]  # fmt: skip
    months = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
    job, month = rng.choice(jobs, rows), rng.choice(months, rows)
    outcome = rng.choice(["nonexistent", "failure", "success"], rows, p=[0.86, 0.1, 0.04])
    duration, age = rng.gamma(1.1, 230, rows).round(), rng.normal(40, 11, rows).clip(18, 92).round()
    rate = rng.choice([-3.4, -1.8, -0.1, 1.1, 1.4], rows)
    score = -5.4 + 0.0065 * duration - 0.7 * rate + 2 * (outcome == "success")
    score = score + 0.9 * np.isin(job, ["student", "retired"]) + 0.02 * np.abs(age - 40)
    score = score + 1.3 * np.isin(month, ["mar", "oct", "sep", "dec"])
    frame = pd.DataFrame({
        "age": age, "job": job, "marital": rng.choice(["married", "single", "divorced"], rows),
        "education": rng.choice(["basic", "high.school", "university.degree", "unknown"], rows),
        "default": rng.choice(["no", "unknown"], rows), "housing": rng.choice(["yes", "no"], rows),
        "contact": rng.choice(["cellular", "telephone"], rows), "month": month,
        "duration": duration, "campaign": rng.geometric(0.4, rows), "poutcome": outcome,
        "emp.var.rate": rate, "balance": rng.lognormal(6, 1.3, rows).round(),
    })  # fmt: skip
    return frame.assign(label=_drawn(rng, score))


def _drawn(rng, score):
    import numpy as np

    return np.where(rng.random(len(score)) < 1 / (1 + np.exp(-np.asarray(score))), "yes", "no")


def claims(rows, seed):
    from diptych.core.data.generators import tables

    return tables.claims(rows, seed).rename(columns={"fraud": "label"})


def churn(rows, seed):
    from diptych.core.data.generators import tables

    return tables.churn(rows, seed).rename(columns={"churned": "label"})


def tumours(rows, seed):
    from sklearn.datasets import load_breast_cancer

    return _bundled(load_breast_cancer)


def wine(rows, seed):
    from sklearn.datasets import load_wine

    return _bundled(load_wine)


def _bundled(load):
    frame = load(as_frame=True).frame
    return frame.rename(columns={"target": "label"}).astype({"label": str})


TABLES = {
    "passengers": (passengers, 2_000), "subscribers": (subscribers, 7_000),
    "bank clients": (clients, 20_000), "claims, 1.5 % positive": (claims, 12_000),
    "churn": (churn, 6_000), "tumours": (tumours, 0), "wine": (wine, 0),
}  # fmt: skip


def diptych(train, test):
    """Return the matrices for trees and for a linear model."""
    from diptych.core.data.typing import infer
    from diptych.mlops.models.columns import ColumnFeatures

    typed = infer(train)
    rows, held_out = typed.read(train), typed.read(test)
    for linear in (False, True):
        features = ColumnFeatures(typed.columns, linear)
        yield features.fit_transform(rows), features.transform(held_out), None


def native(train, test):
    """As `diptych`, but each category is one column of codes that XGBoost splits itself."""
    import numpy as np

    from diptych.core.data.column import CATEGORY
    from diptych.core.data.typing import infer
    from diptych.mlops.models.columns import ColumnFeatures

    typed = infer(train)
    others = [column for column in typed.columns if column.kind != CATEGORY]
    rows, held_out = typed.read(train), typed.read(test)
    features = ColumnFeatures(others)
    matrices = [features.fit_transform(rows), features.transform(held_out)]
    types = ["q"] * matrices[0].shape[1]
    for column in typed.columns:
        if column.kind == CATEGORY:
            levels = {level: i for i, level in enumerate(rows[column.name].dropna().unique())}
            codes = [
                frame[column.name].map(levels).to_numpy(np.float32) for frame in (rows, held_out)
            ]
            matrices = [np.column_stack([m, c]) for m, c in zip(matrices, codes, strict=True)]
            types.append("c")
    yield *matrices, types


def skrub(train, test):
    """Return the matrices for trees and for a linear model."""
    import skrub
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    for linear in (False, True):
        steps = [skrub.TableVectorizer()]
        if linear:
            steps += [SimpleImputer(add_indicator=True), StandardScaler()]
        pipeline = make_pipeline(*steps)
        yield pipeline.fit_transform(train), pipeline.transform(test), None


def boosted(matrix, codes, held_out, classes, types):
    import xgboost

    goal = {"objective": "multi:softprob", "num_class": classes}
    settings = {"feature_types": types, "enable_categorical": True} if types else {}
    data = xgboost.DMatrix(matrix, codes, **settings)
    model = xgboost.train({**TREES, **goal}, data, ROUNDS)
    return model.predict(xgboost.DMatrix(held_out, **settings))


def logistic(matrix, codes, held_out, classes, types):
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=2000).fit(matrix, codes).predict_proba(held_out)


def scores(shares, codes):
    """Return the area under the ROC curve and the accuracy."""
    from sklearn.metrics import roc_auc_score

    shares = shares / shares.sum(axis=1, keepdims=True)
    two = shares.shape[1] == 2
    area = roc_auc_score(codes, shares[:, 1] if two else shares, multi_class="ovr")
    return float(area), float((shares.argmax(axis=1) == codes).mean())


def worker(peer, path):
    """Encode, fit and score one table in this process; print figures as JSON."""
    import numpy as np
    import pandas as pd

    start = time.process_time()
    if peer == "skrub":
        import skrub  # noqa: F401
    else:
        import diptych.mlops.models.columns  # noqa: F401
    imported = time.process_time() - start
    import sklearn.linear_model  # noqa: F401
    import xgboost  # noqa: F401

    # skrub reads a CSV as pandas does; Diptych reads strings
    frame = pd.read_csv(path, dtype=None if peer == "skrub" else str)
    labels = pd.read_csv(path, dtype=str)["label"]
    classes = sorted(labels.unique())
    codes = labels.map({name: i for i, name in enumerate(classes)}).to_numpy()
    held_out = np.arange(len(frame)) % 4 == 3
    train, test = (frame.drop(columns="label")[x] for x in (~held_out, held_out))
    figures = {"import": imported}
    steps = globals()[peer](train, test)
    for fit in (boosted, logistic):
        before = time.process_time()
        parts = next(steps, None)
        if parts is None:  # logistic regression knows no categories
            continue
        matrix, rows, types = parts
        shares = fit(matrix, codes[~held_out], rows, len(classes), types)
        area, accuracy = scores(shares, codes[held_out])
        seconds = time.process_time() - before
        figures[fit.__name__] = {"auc": area, "accuracy": accuracy, "cpu": seconds}
    names = ["pandas", "scikit-learn", "xgboost-cpu"] + ["skrub"] * (peer == "skrub")
    figures["versions"] = {name: importlib.metadata.version(name) for name in names}
    print(json.dumps(figures))


def run(python, peer, path):
    """Start a peer in its own process; a peer that fails is reported, not hidden."""
    command = [python, "-W", "ignore", __file__, "--worker", peer, "--table", path]
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | threads
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise SystemExit(f"{peer} failed in {python}: {lines[-1] if lines else done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def install_peers():
    """Make the environment of skrub and return its Python."""
    python = str(PEERS / "bin" / "python")
    print(f"Installing skrub in {PEERS} (a minute or two at first).", file=sys.stderr)
    if not Path(python).exists():
        subprocess.run([sys.executable, "-m", "venv", str(PEERS)], check=True)
    packages = ["skrub", "xgboost-cpu"]
    subprocess.run([python, "-m", "pip", "install", "-q", *packages], check=True)
    return python


def report(results, repeats):
    """Record the tables."""
    lines = [
        f"Means over {repeats} tables each, three quarters of the rows fitted, a quarter scored.",
        "",
        "| table | model | encoder | ROC-AUC | lowest to highest | accuracy | CPU s |",
        "|---|---|---|---:|---:|---:|---:|",
    ]
    for (name, model, peer), runs in results.items():
        means = {k: statistics.mean(x[k] for x in runs) for k in ("auc", "accuracy", "cpu")}
        areas = [x["auc"] for x in runs]
        lines.append(
            f"| {name} | {model} | {NAMES[peer]} | {means['auc']:.3f} | {min(areas):.3f} to "
            f"{max(areas):.3f} | {means['accuracy']:.3f} | {means['cpu']:.2f} |"
        )
    return lines


def main():
    """Read the arguments, run the tables, print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--skrub-python", help="Python of an environment with skrub")
    parser.add_argument("--install-peers", action="store_true", help="make that environment")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--table", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return worker(options.worker, options.table)
    pythons = {"diptych": sys.executable, "native": sys.executable}
    if options.skrub_python or options.install_peers:
        pythons["skrub"] = options.skrub_python or install_peers()
    else:
        print("skrub is left out: give --skrub-python PATH or --install-peers.")
    results, last, imports = {}, {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for name, (make, rows) in TABLES.items():
            for seed in range(options.repeats if rows else 1):
                path = Path(folder) / "table.csv"
                buffer = io.StringIO()
                make(rows, seed).to_csv(buffer, index=False)
                path.write_text(buffer.getvalue(), "utf-8")
                for peer, python in pythons.items():
                    figures = run(python, peer, str(path))
                    last[peer] = figures["versions"]
                    imports.setdefault(peer, []).append(figures["import"])
                    for model in ("boosted", "logistic"):
                        if model in figures:
                            key = (name, {"boosted": "XGBoost"}.get(model, model), peer)
                            results.setdefault(key, []).append(figures[model])
    lines = report(results, options.repeats)
    lines += ["", "| | import, CPU s |", "|---|---:|"]
    lines += [f"| {NAMES[p]} | {statistics.median(x):.2f} |" for p, x in imports.items()]
    lines.append("")
    for peer, versions in last.items():
        lines.append(f"- {peer}: " + ", ".join(f"{k} {v}" for k, v in versions.items()))
    return record("Tables", lines)


if __name__ == "__main__":
    main()
