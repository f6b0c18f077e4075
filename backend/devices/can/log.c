// SPDX-License-Identifier: GPL-2.0-or-later
/* log.c - see can/log.h */
#include "backend/devices/can/log.h"

#include <stdio.h>

#include "backend/devices/can/int.h"

size_t can_log_line(char *buf, const struct timespec *when, const char *interface,
		    const struct can_item *item, char way)
{
	const struct canfd_frame *f = &item->f;
	int n;

	n = snprintf(buf, CAN_LOG_MAX, "(%010lld.%06ld) %.15s ", (long long)when->tv_sec,
		     when->tv_nsec / 1000, interface);
	if (f->can_id & (CAN_EFF_FLAG | CAN_ERR_FLAG))
		n += sprintf(buf + n, "%08X#", f->can_id & (CAN_EFF_MASK | CAN_ERR_FLAG));
	else
		n += sprintf(buf + n, "%03X#", f->can_id & CAN_SFF_MASK);
	if (f->can_id & CAN_RTR_FLAG) {
		n += sprintf(buf + n, "R");
		if (f->len)
			n += sprintf(buf + n, "%u", f->len);
	} else {
		if (item->fd)
			n += sprintf(buf + n, "#%X", f->flags & (CANFD_BRS | CANFD_ESI));
		for (unsigned i = 0; i < f->len; i++)
			n += sprintf(buf + n, "%02X", f->data[i]);
	}
	n += sprintf(buf + n, " %c", way);
	return (size_t)n;
}

void can_trace(struct can *can, const struct can_item *item, char way)
{
	char line[CAN_LOG_MAX];
	struct timespec now;
	size_t len;

	if (!vg_trace_on(&can->dev->trace))
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	len = can_log_line(line, &now, can->interface, item, way);
	vg_trace_line(&can->dev->trace, line, len);
}
