"""MLflow's own clients ask the endpoint, as its users have them."""

from urllib.parse import urlsplit

import pandas as pd
import pytest
import requests

from diptych import __version__
from diptych.mlops.serving.process import Endpoint

TEXTS = ["a good film", "a dull book"]
ANSWERS = ["yes", "no"]
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # MLflow's, of its own types


@pytest.fixture(scope="module")
def words(text_model, tmp_path_factory):
    path = tmp_path_factory.mktemp("words") / "ledger.db"
    with Endpoint(text_model, ledger=path, name="words/1", endpoint="run-1") as server:
        yield server


def test_the_client_of_the_scoring_server(words):
    from mlflow.pyfunc.scoring_server.client import ScoringServerClient

    address = urlsplit(words.url)
    client = ScoringServerClient(address.hostname, address.port)
    client.ping()
    assert client.get_version() == __version__
    answer = client.invoke(pd.DataFrame({"text": TEXTS}))
    assert answer.get_predictions().iloc[:, 0].tolist() == ANSWERS


def test_the_client_of_deployments(words):
    from mlflow.deployments import get_deploy_client

    client = get_deploy_client(words.url)
    (listed,) = client.list_endpoints()
    assert listed == client.get_endpoint("words/1")
    assert listed.endpoint_url == f"{words.url}/endpoints/words/1/invocations"
    answer = client.predict(endpoint="words/1", inputs={"inputs": TEXTS})
    assert answer["predictions"] == ANSWERS
    with pytest.raises(requests.HTTPError, match=r"404.*'other' is not served; .*'words/1'"):
        client.predict(endpoint="other", inputs={"inputs": TEXTS})
