"""The paths by which MLflow's clients ask a model, beside ``/ping`` and ``/invocations``.

`mlflow.pyfunc.scoring_server.client.ScoringServerClient` asks for ``/version``;
`mlflow.deployments.get_deploy_client("http://…")` lists endpoints and asks one by its name, which
here is the served model's.
"""

from collections.abc import Awaitable, Callable

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from diptych.base.environment import own_version

LISTED = "/api/2.0/endpoints"
THERE = f"GET /version, GET {LISTED}/ and POST /endpoints/NAME/invocations"


def routes(
    name: str,
    invocations: Callable[[Request], Awaitable[Response]],
    check_token: Callable[[Request], None],
) -> list[Route]:
    """Return the routes of a model's endpoint.

    Parameters
    ----------
    name : str
        The served model's, which the clients give as the endpoint.
    invocations : callable
        Answers a request for predictions.
    check_token : callable
        Refuses a request without the endpoint's token, if it has one.
    """
    facts = {
        "name": name, "endpoint_type": "predictions", "limit": None,
        "model": {"name": name, "provider": "diptych"},
        "endpoint_url": f"/endpoints/{name}/invocations",
    }  # fmt: skip

    def check_name(request: Request) -> None:
        wanted = request.path_params["name"]
        if wanted != name:
            raise HTTPException(404, f"endpoint: {wanted[:80]!r} is not served; there is {name!r}")

    async def version(request: Request) -> Response:
        return PlainTextResponse(own_version())

    async def listed(request: Request) -> Response:
        check_token(request)
        return JSONResponse({"endpoints": [facts], "next_page_token": None})

    async def one(request: Request) -> Response:
        check_token(request)
        check_name(request)
        return JSONResponse(facts)

    async def invoke(request: Request) -> Response:
        check_token(request)
        check_name(request)
        return await invocations(request)

    return [
        Route("/version", version),
        Route(LISTED, listed),
        Route(f"{LISTED}/", listed),
        Route(f"{LISTED}/{{name:path}}", one),
        Route("/endpoints/{name:path}/invocations", invoke, methods=["POST"]),
    ]
