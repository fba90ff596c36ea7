"""The typed config: everything composes, unknown words are refused helpfully, identity is stable."""

import itertools
import json

import pytest
import yaml

from flowrepro.config.compose import check_words, compose, expand, keys, options
from flowrepro.config.identity import identity, run_name
from flowrepro.config.reading import conf_dir, from_tree, saved_tree, to_tree
from flowrepro.config.schema import SCHEMAS, RealNVPImagesConfig
from flowrepro.errors import UsageError


def test_every_combination_composes():
    for dataset, model, regularizer, scale in itertools.product(
        ["sine", "digits2", "mnist2", "array"], SCHEMAS["model"], SCHEMAS["regularizer"], options("scale")
    ):
        words = [f"dataset={dataset}", f"model={model}", f"regularizer={regularizer}", f"scale={scale}"]
        config = compose(words)
        assert (config.dataset.name, config.model.name) == (dataset, model)
        assert config.scale.name == scale


@pytest.mark.parametrize("model", [name for name, schema in SCHEMAS["model"].items() if schema.takes_images])
@pytest.mark.parametrize("dataset", ["fashion_mnist", "cifar10"])
def test_image_models_have_a_size_at_every_scale(model, dataset):
    sizes = [
        compose([f"dataset={dataset}", f"model={model}", f"scale={scale}"])
        for scale in ("smoke", "cpu", "paper")
    ]
    for value in (lambda c: c.model.levels * c.model.steps, lambda c: c.training.steps):
        small, middle, large = map(value, sizes)
        assert small < middle < large


def test_every_registered_name_has_a_file_and_every_file_a_schema():
    for group, known in SCHEMAS.items():
        assert set(options(group)) == set(known), group
        assert all(options(group).values()), f"a {group} file has no comment for the help"


def test_no_two_files_of_settings_say_the_same():
    files = [f for group in ("tuned", "sizes") for f in (conf_dir() / group).glob("*.yaml")]
    said = {}
    for file in files:
        said.setdefault(json.dumps(yaml.safe_load(file.read_text()), sort_keys=True), []).append(file.name)
    assert len(files) > 20 and [names for names in said.values() if len(names) > 1] == []


def test_every_key_has_a_line_of_help():
    assert all(keys().values())


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("model=dense_asinhh", "Did you mean 'dense_asinh'"),
        ("modle=linear", "Did you mean 'model'"),
        ("training.stepz=4", "Did you mean 'training.steps'"),
        ("+training.stepz=4", "Did you mean 'training.steps'"),
        ("~training.steps", "not key=value"),
        ("~training.steps=4", "cannot be deleted"),
        ("training.steps=abc", "training.steps"),
        ("training.steps=0", "must be positive"),
        ("model=glow model.hidden=0", "model.hidden=0 must be positive"),
        ("model=realnvp model.hidden=[8,-1]", "model.hidden=.* must be positive"),
        ("model=glow model.levels=0", "model.levels=0 must be positive"),
        ("model=nf model.margin=0.5", "must lie between 0 and 0.5"),
        ("model=realnvp model.levels=2", "model.levels"),
        ("model=realnvp_images model.passive=3", "model.passive"),
        ("regularizer.alpha=-1", "must not be negative"),
        ("training.optimizer=sgdd", "adam, adamw, adamax"),
        ("training.lr=[1", "cannot be read"),
        ("phases.sequence=[{share:0.5}]", "add up to 1"),
    ],
)
def test_a_wrong_word_gets_one_helpful_line(word, hint):
    with pytest.raises(UsageError, match="(?s)" + hint.replace("(", r"\(")) as error:
        compose(word.split())
    assert "\n" not in str(error.value)


def test_all_problems_are_told_at_once():
    with pytest.raises(UsageError) as error:
        compose(["training.steps=0", "regularizer.alpha=-1", "training.ema=2"])
    assert all(word in str(error.value) for word in ("training.steps", "regularizer.alpha", "training.ema"))


def test_a_key_of_another_group_option_is_refused():
    with pytest.raises(UsageError, match="alpha"):
        compose(["regularizer=none", "regularizer.alpha=1"])


def test_plus_and_no_plus_mean_the_same_for_a_known_key():
    assert compose(["+training.steps=7"]).training.steps == compose(["training.steps=7"]).training.steps == 7
    assert check_words(["+training.steps=7"]) == ["++training.steps=7"]


def test_the_command_line_wins_over_tuned_settings():
    assert compose(["scale=demo"]).phases.name == "annealed"
    assert compose(["scale=demo", "phases=end_to_end"]).phases.name == "end_to_end"
    assert compose(["scale=demo", "training.steps=3"]).training.steps == 3


def test_a_model_chooses_its_default_regularizer_and_the_command_line_still_wins(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text(
        "# mine\ndefaults:\n  - override /regularizer@_global_.regularizer: none\nname: dense_asinh\nlayers: 3\n"
    )
    config = compose(["model=mine"], [tmp_path])
    assert (config.model.layers, config.regularizer.name) == (3, "none")
    assert compose(["model=mine", "regularizer=tikhonov"], [tmp_path]).regularizer.name == "tikhonov"
    assert "mine" in options("model", [tmp_path])


def test_identity_ignores_where_and_how_and_sees_what():
    name = run_name(compose(["dataset=moons"]))
    for word in (
        "device=cpu",
        "threads=1",
        "output_dir=x",
        "training.max_minutes=1",
        "training.log_seconds=1",
        "debug=true",
        "training.steps=5000",
        "evaluation.n_samples=3",
    ):
        assert run_name(compose(["dataset=moons", word])) == name, word
    others = [
        "seed=1",
        "dtype=float32",
        "training.steps=4",
        "model.layers=3",
        "dataset=scurve",
        "scale=smoke",
        "regularizer.alpha=1e-5",
        "phases=annealed",
        "dataset.noise=.1",
    ]
    names = {run_name(compose([word] if "dataset=" in word else ["dataset=moons", word])) for word in others}
    assert len(names) == len(others)
    assert name not in names


def test_a_new_key_with_its_default_orphans_no_run():
    # the hash is over what differs from the defaults, and nothing differs here but the names
    assert identity(compose(["dataset=moons"]))["training"] == {}
    assert identity(compose(["dataset=moons"]))["model"] == {"name": "dense_asinh"}


def test_identity_of_an_array_is_its_content(tmp_path):
    (tmp_path / "a.npy").write_bytes(b"1")
    (tmp_path / "b.npy").write_bytes(b"1")
    names = [run_name(compose(["dataset=array", f"dataset.path={tmp_path}/{f}.npy"])) for f in "ab"]
    (tmp_path / "b.npy").write_bytes(b"2")
    assert names[0] == names[1] != run_name(compose(["dataset=array", f"dataset.path={tmp_path}/b.npy"]))


def test_tree_round_trip():
    config = compose(["phases=annealed", "training.max_minutes=2.5", "dataset=mnist2"])
    assert from_tree(to_tree(config)) == config


def test_a_realnvp_of_old_is_read_by_what_it_took():
    """As saved when one model took vectors with levels=0 and images with more."""
    old = to_tree(compose(["dataset=moons", "model=realnvp", "model.hidden=[8,8]"]))
    old["model"]["levels"] = 0
    assert from_tree(saved_tree(old)) == compose(["dataset=moons", "model=realnvp", "model.hidden=[8,8]"])
    old["model"]["levels"], old["training"]["steps_per_layer"] = 2, 7
    config = from_tree(saved_tree(old))
    assert config.model == RealNVPImagesConfig("realnvp_images", 2, 6, 8, "exponential")
    assert config.training.steps == old["training"]["steps"]


def test_realnvp_means_the_same_on_every_data_set():
    for dataset in ("celeba", "cifar10", "fashion_mnist", "moons"):
        assert not compose([f"dataset={dataset}", "model=realnvp"]).model.takes_images
        assert compose([f"dataset={dataset}", "model=realnvp_images"]).model.takes_images


def test_expand_is_the_product_of_swept_values():
    jobs = expand(["dataset=sine", "regularizer.alpha=0,1e-5", "seed=range(0,3)"])
    assert len(jobs) == 6
    assert jobs[0] == ["dataset=sine", "regularizer.alpha=0", "seed=0"]
