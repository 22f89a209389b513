"""sbatch that tries again while SLURM is busy: submit.py ARGUMENTS OF SBATCH < SCRIPT"""

import sys

from animate.cluster.submit import submit_patiently

if __name__ == "__main__":
    answer = submit_patiently(sys.argv[1:], sys.stdin.buffer.read())
    sys.stdout.buffer.write(answer.stdout)
    sys.stderr.buffer.write(answer.stderr)
    sys.exit(answer.returncode)
