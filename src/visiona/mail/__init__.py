"""Mails: written down in the transaction of what they tell, and sent by a job afterwards."""
