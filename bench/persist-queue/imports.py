"""What of persist-queue is measured."""

import persistqueue
