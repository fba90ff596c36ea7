"""Help, completion and hints: true for what is chosen, quick, and in every shell."""

import dataclasses
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flowrepro import completion
from flowrepro.cli import main
from flowrepro.completion import candidates
from flowrepro.config.commands import COMMANDS, check_effect, counts
from flowrepro.config.compose import compose
from flowrepro.config.keys import all_keys, options
from flowrepro.config.schema import GROUPS, SCHEMAS
from flowrepro.errors import UsageError, nearest
from flowrepro.help import EXAMPLES

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def shown(capsys):
    """What a command line prints."""

    def run(line: str) -> str:
        assert main(line.split()) == 0
        return capsys.readouterr().out

    return run


def lines_of(text: str) -> dict[str, str]:
    """The keys that a help shows, each with its default as it stands there."""
    return dict(re.findall(r"^  ([\w.]+)=(\S*)", text, re.M))


def test_help_is_instant_and_needs_neither_torch_nor_hydra():
    code = (
        "import sys; from flowrepro.cli import main; main([]); main(['train', '--help']); "
        "main(['train', 'model=nf', '--help']); main(['--complete', 'flowrepro train mo']); "
        "assert not {'torch', 'hydra', 'omegaconf', 'numpy'} & set(sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    began = os.times().children_user
    answer = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    assert os.times().children_user - began < 1, "seconds of the processor, for four answers"
    for word in (
        "evaluate",
        "mnist2",
        "dense_softplus",
        "tikhonov",
        "linear_systems/fig2",
        "training.steps=",
    ):
        assert word in answer.stdout


@pytest.mark.parametrize(
    ("group", "option"), [(group, option) for group in GROUPS for option in options(group)]
)
def test_the_help_of_an_option_has_its_keys_and_no_others(shown, group, option):
    text = shown(f"train {group}={option} --help")
    assert text.startswith(f"{group}={option}: {options(group)[option]}")
    own = lines_of(text)
    if group in SCHEMAS:
        fields = {f.name for f in dataclasses.fields(SCHEMAS[group][option])} - {"name"}
        assert own.keys() == {f"{group}.{name}" for name in fields}


@pytest.mark.parametrize(
    "choice",
    [["model=coupling"], ["model=dense_softplus"], ["dataset=celeba_hq", "model=linear"], ["dataset=array"]],
)
def test_the_defaults_that_are_shown_change_nothing_when_they_are_given(shown, choice):
    # the paper's scale: at others the sizes of a model have values of their own
    words = ["dataset=w", "scale=paper", *choice]
    given = [
        f"{key}={default}" for key, default in lines_of(shown(f"train {' '.join(words)} --help")).items()
    ]
    general = shown("train --help").partition("every run\n")[2].partition("figure=KEY")[0]
    given += [f"{key}={default}" for key, default in lines_of(general).items()]
    assert len(given) > 40
    assert compose([*words, *given]) == compose(words)


def test_allowed_values_and_bounds_are_shown(shown):
    text = shown("train model=glow dataset=celeba --help")
    assert re.search(r"model\.conv=lu .*\[one of plain, lu, normalised\]", text)
    assert re.search(r"dataset\.bits=8 .*\[at least 1 and at most 8\]", text)
    assert "conf/sizes/glow-cpu.yaml" in text


def test_keys_that_several_have_stand_under_each(shown):
    text = shown("train --help")
    seeds = re.findall(r"^  dataset\.seed=0 +(.*)$", text, re.M)
    assert len(seeds) == 3 and "points" in seeds[0] and all("split" in text for text in seeds[1:])
    layers = dict(re.findall(r"^model=(.*)\n(?:  .*\n)*?  model\.layers=(\d+)", text, re.M))
    several = {"dense_asinh, dense_softplus": "8", "realnvp": "6", "coupling": "12", "qlf_vectors": "6"}
    assert layers == several


def test_figures_show_their_titles(shown):
    for verb in ("train", "evaluate", "plot"):
        assert re.search(r"linear_systems/fig4 +the two leading components", shown(f"{verb} --help"))
    text = shown("train figure=linear_systems/fig5 --help")
    assert "likelihoods and samples" in text and re.search("scale=cpu +about 120 minutes", text)
    assert all(options("figure").values())


def test_the_help_of_evaluate_and_plot_has_the_keys_that_count(shown):
    evaluate, plot = shown("evaluate --help"), shown("plot --help")
    assert "evaluation.n_samples=" in evaluate and "training." not in evaluate and "jobs=" not in evaluate
    assert "evaluation.checkpoint=" in plot and "evaluation.n_samples=" not in plot and "seed=" not in plot


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("stpes=5", "Did you mean 'training.steps'?"),
        ("steps=5", "Did you mean 'training.steps'?"),
        ("model=glow steps=5", "Did you mean 'model.steps' or 'training.steps'?"),
        ("alpha=1", "Did you mean 'regularizer.alpha'?"),
        ("model=coupling anlge=1", "Did you mean 'model.angle'?"),
        ("training.stepz=4", "Did you mean 'training.steps'?"),
        ("model=nf model.stesp=4", "Did you mean 'model.steps'?"),
        ("model=linear model.layers=4", "model=linear has no key 'layers'. Known: init"),
        ("xyzzy=4", "Known: claims, dataset, dataset.fresh, "),
    ],
)
def test_a_typo_finds_the_last_part_of_a_key(words, hint):
    with pytest.raises(UsageError, match=re.escape(hint)) as error:
        compose(words.split())
    assert "\n" not in str(error.value)


def test_a_typo_finds_the_figures_that_end_so():
    ending = [key for key in options("figure") if key.endswith("/fig3")]
    assert len(ending) > 1
    told = nearest("fig3", options("figure"))
    assert re.findall("'(.*?)'", told) == ending and " or " in told


def test_help_of_what_is_unknown_is_told(capsys):
    for words, hint in (("modle=nf", "'model'"), ("model=nff", "'nf'"), ("steps", "'training.steps'")):
        assert main(["train", *words.split(), "--help"]) == 2
        assert f"Did you mean {hint}" in capsys.readouterr().err


def shipped_commands() -> list[str]:
    """The command lines of README, Makefile and examples, without what they begin with."""
    readme = re.findall(
        r"^    (?:torchrun .* -m )?flowrepro (.*?)(?: #.*)?$", (ROOT / "README.md").read_text(), re.M
    )
    make = re.findall(r"^\t\$\(RUN\) (.*)$", (ROOT / "Makefile").read_text(), re.M)
    return [*readme, *make, *(line for lines in EXAMPLES.values() for line in lines)]


@pytest.mark.parametrize("line", shipped_commands())
def test_no_key_of_a_command_that_we_show_is_without_effect(line):
    verb, *words = [word for word in line.split() if word not in ("-m", "--help")]
    assert not [key for key in (w.partition("=")[0] for w in words) if key not in {*GROUPS, *all_keys()}]
    if "--help" not in line:
        check_effect(verb, words, multirun="-m" in line.split())


def test_every_key_counts_in_some_command_and_every_word_of_the_table_is_a_key():
    keys = {*GROUPS, *all_keys()}
    assert [key for key in keys if not any(counts(key, command) for command in COMMANDS)] == []
    prefixes = {key.split(".")[0] for key in keys} | keys | {"hydra"}
    assert {word for words, _ in COMMANDS.values() for word in words} <= prefixes


@pytest.mark.parametrize(
    ("line", "some", "none"),
    [
        ("flowrepro tr", {"train"}, {"plot"}),
        ("flowrepro train mo", {"model=", "model.layers="}, {"model.steps=", "model.margin="}),
        ("flowrepro train model=nf mo", {"model.steps=", "model.margin="}, {"model.layers="}),
        ("flowrepro train model=dense", {"model=dense_asinh", "model=dense_softplus"}, set()),
        ("flowrepro train dataset=mnist", {"dataset=mnist", "dataset=mnist2"}, set()),
        ("flowrepro plot figure=", {"figure=all", "figure=linear_systems/fig1"}, set()),
        ("flowrepro train overwrite=", {"overwrite=true", "overwrite=false"}, set()),
        (
            "flowrepro train training.optimizer=ada",
            {f"training.optimizer=ada{e}" for e in ("m", "mw")},
            set(),
        ),
        ("flowrepro train model=glow model.conv=", {"model.conv=lu"}, set()),
        ("flowrepro evaluate ", {"run=", "figure=", "evaluation.n_samples="}, {"training.steps=", "jobs="}),
        ("flowrepro evaluate run=latest ", {"seed="}, {"figure=", "scale=", "dataset="}),
        ("flowrepro train figure=linear_systems/fig1 ", {"jobs=", "scale="}, {"model=", "training.steps="}),
        ("flowrepro train --", {"--help", "--config-dir"}, set()),
    ],
)
def test_completion_knows_what_counts_and_what_may_stand_there(line, some, none):
    found = set(candidates(line))
    assert some <= found and not none & found


def test_completion_knows_files_and_runs(workdir):
    for name in ("points.npy", "notes.txt", "deep/more.csv", "there/runs/sine-1/config.yaml"):
        (workdir / name).parent.mkdir(parents=True, exist_ok=True)
        (workdir / name).touch()
    line = "flowrepro train dataset=array dataset.path="
    assert candidates(line) == [f"dataset.path={p}" for p in ("deep/", "points.npy", "there/")]
    assert candidates(line + "deep/") == ["dataset.path=deep/more.csv"]
    assert candidates(f"{line}{workdir}/po") == [f"dataset.path={workdir}/points.npy"]
    assert candidates("flowrepro plot output_dir=there run=") == ["run=latest", "run=sine-1"]


STUB = f'flowrepro() {{ PYTHONPATH={ROOT} {sys.executable} -m flowrepro "$@"; }}\n'
SHELLS = {
    "bash": STUB
    + completion.BASH
    + 'COMP_LINE="flowrepro train {0}"; COMP_POINT=${{#COMP_LINE}}; _flowrepro; printf "%s\\n" "${{COMPREPLY[@]}}"',
    # zsh completes in an editor; what it is handed there is all that stands in for it
    "zsh": "compdef() { }\ncompadd() { print -l -- ${@:#-*} }\n"
    + STUB
    + completion.ZSH
    + "words=(flowrepro train {0}); CURRENT=3; _flowrepro",
    "fish": f"function flowrepro; env PYTHONPATH={ROOT} {sys.executable} -m flowrepro $argv; end\n"
    + completion.FISH
    + 'complete -C "flowrepro train {0}"',
}


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_works_in_the_shells(shell, tmp_path):
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell}")
    for word, expected in (
        ("model=line", ["linear"]),
        ("training.backward=", ["checkpoint", "invert", "plain"]),
    ):
        script = SHELLS[shell].replace("{0}", word).replace("{{", "{").replace("}}", "}")
        answer = subprocess.run(
            [shell, "-c", script], capture_output=True, text=True, env={**os.environ, "HOME": str(tmp_path)}
        )
        found = [line.split("=")[-1] for line in answer.stdout.split()]
        assert found == expected, answer.stderr


def test_an_unknown_shell_is_told(capsys):
    assert main(["--completion", "fis"]) == 2
    assert "Did you mean 'fish'" in capsys.readouterr().err
