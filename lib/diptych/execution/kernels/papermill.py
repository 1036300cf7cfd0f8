"""The papermill engine: ``papermill --engine diptych``."""

from papermill.engines import NBClientEngine

from diptych.execution.kernels import unavailable
from diptych.execution.kernels.client import Refused, notice_fallback


class DiptychEngine(NBClientEngine):
    """Papermill's own engine with a kernel forked from a warm process.

    It takes the options of papermill's default engine. Where no kernel can be forked, one is
    started afresh, and a line says why.
    """

    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name, **options):
        """Execute a notebook; see `papermill.engines.NBClientEngine`."""
        execute = super().execute_managed_notebook
        try:
            if why := unavailable():
                raise Refused(why)
            from diptych.execution.kernels.pipe import PipeManager

            return execute(nb_man, kernel_name, kernel_manager_class=PipeManager, **options)
        except Refused as refused:
            notice_fallback(refused)
            return execute(nb_man, kernel_name, **options)
