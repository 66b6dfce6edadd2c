from __future__ import annotations

import os

from smentry.sagemaker.layout import Layout


def test_the_platforms_tree() -> None:
    layout = Layout.of({})
    assert layout.base == "/opt/ml"
    assert layout.hyperparameters == "/opt/ml/input/config/hyperparameters.json"
    assert layout.channels == "/opt/ml/input/config/inputdataconfig.json"
    assert layout.channel("code") == "/opt/ml/input/data/code"
    assert layout.resources == "/opt/ml/input/config/resourceconfig.json"
    assert layout.code == "/opt/ml/code"
    assert layout.model == "/opt/ml/model"
    assert layout.output == "/opt/ml/output"
    assert layout.failure == "/opt/ml/output/failure"
    assert layout.message == "/opt/ml/output/message"
    assert layout.processing == "/opt/ml/config/processingjobconfig.json"
    assert layout.processing_resources == "/opt/ml/config/resourceconfig.json"


def test_another_base_directory() -> None:
    assert Layout.of({"SAGEMAKER_BASE_DIR": "/x/y/"}).code == "/x/y/code"
    assert Layout.of({"SAGEMAKER_BASE_DIR": "x"}).code == os.path.join(os.getcwd(), "x/code")
    assert Layout.of({"SAGEMAKER_BASE_DIR": ""}).base == "/opt/ml"
