"""What every pruned network would cost, without making one."""
