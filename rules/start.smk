# How a run starts: what makes jobs run again, what is told, and what is checked on this machine.
import threading

from snakemake.logging import logger
from snakemake.scheduling.job_scheduler import JobScheduler
from snakemake.settings.types import RerunTrigger

from prune3d.files import check_writable
from prune3d.workflow.devices import places
from prune3d.workflow.leftovers import cancel_leftovers
from prune3d.workflow.programs import check_interpreter
from prune3d.workflow.progress import follow_progress


class TriggeredByContent(type(workflow)):
    """A workflow in which a script's new date reruns nothing, unless the user names triggers.

    Its content, and that of the library, is a parameter. Settings are known only when all rules
    are, and a profile in the place where Snakemake looks for one would replace a user's.
    """

    @property
    def rerun_triggers(self):
        triggers = super().rerun_triggers
        if triggers != RerunTrigger.all():
            return triggers
        return triggers - {RerunTrigger.CODE}


def look_again(scheduler, delay):
    """Let the scheduler look at its jobs again after some seconds, with one timer at a time.

    Snakemake (9.27) starts a timer whenever it looks, and looks whenever one ends or a job does:
    after a thousand jobs a thousand times a second.
    """
    if getattr(scheduler, "timer", None) is None:

        def look():
            scheduler.timer = None
            scheduler._open_jobs.release()

        scheduler.timer = threading.Timer(delay, look)
        scheduler.timer.start()


if hasattr(JobScheduler, "_schedule_reevalutation"):
    JobScheduler._schedule_reevalutation = look_again
workflow.__class__ = TriggeredByContent
follow_progress(logger, not_run if workflow.is_main_process else [])
try:
    if not workflow.deployment_settings.deployment_method:
        check_interpreter(sys.executable)
    # On this machine alone, as many jobs at a time as there are places on its GPUs.
    if workflow.is_main_process and workflow.nodes is None:
        free = places()
        if free and "gpu" not in workflow.global_resources:
            workflow.global_resources["gpu"] = free
except UserError as error:
    raise WorkflowError(str(error)) from None


onstart:
    try:
        # Snakemake itself would end in a traceback.
        check_writable("results")
        # A controller that was killed left its jobs behind.
        if workflow.non_local_exec:
            cancel_leftovers(Path.cwd(), logger.info)
    except UserError as error:
        raise WorkflowError(str(error)) from None
